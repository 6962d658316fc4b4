# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells copies of a shot's strips apart, so that each copy has its own takes."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import bpy

from .. import compat
from . import provenance
from .provenance import Provenance
from .runtime import runtime


def separate_copies(scene: bpy.types.Scene) -> None:
    """Give copies of a shot's strips a shot id of their own, so that each has its own takes.

    Strips that show the same frames of the same layer are copies, but the halves of a split are
    not. The strips from the last look keep the id.
    """
    key = compat.session_uid(scene)
    known = runtime.strip_names.get(key, set())
    shots: dict[str, list[tuple[Any, Provenance]]] = {}
    names = set()
    for strip in compat.all_strips(scene):
        names.add(strip.name)
        each = provenance.read_or_none(strip)
        if each is not None:
            shots.setdefault(each.shot, []).append((strip, each))
    for shot, members in shots.items():
        ordered = sorted(members, key=lambda pair: (pair[0].name not in known, pair[0].name))
        copies: dict[int, list[tuple[Any, Provenance]]] = {}
        for (strip, each), number in zip(ordered, _copy_numbers(ordered), strict=True):
            copies.setdefault(number, []).append((strip, each))
        for number, copy in copies.items():
            if number:
                # The id comes from the first strip's name, so that an undo does not change it.
                uid = uuid.uuid5(uuid.NAMESPACE_OID, f"{shot} {copy[0][0].name}").hex
                for strip, each in copy:
                    provenance.write(strip, replace(each, shot=uid))
    runtime.strip_names[key] = names


def _copy_numbers(members: Sequence[tuple[Any, Provenance]]) -> list[int]:
    """Say to which copy each strip belongs. It is the first copy without a strip like it.

    Two strips of a layer are alike if they share more than half of the frames of the shorter one,
    because halves of a split may overlap for a dissolve.
    """
    taken: dict[tuple[int, int, str], list[tuple[int, int]]] = {}
    numbers = []
    for strip, each in members:
        start = compat.content_span(strip)[0] if compat.is_image(strip) else 0
        first, last = (frame - start for frame in compat.span(strip))
        number = 0
        while any(
            2 * (min(last, end) - max(first, begin)) > min(last - first, end - begin)
            for begin, end in taken.get((number, each.layer, each.role), ())
        ):
            number += 1
        taken.setdefault((number, each.layer, each.role), []).append((first, last))
        numbers.append(number)
    return numbers
