"""The order of pictures by the number in their names: any place, any padding, with a sign."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layert2v_media.errors import UnreadableMedia

_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True)
class _Name:
    """A name taken apart: `shot2_-0003` is the texts shot, _, and the numbers 2 and -3."""

    path: Path
    texts: tuple[str, ...]
    """Around the numbers, one more than these, lower case, without a minus before a number."""
    digits: tuple[str, ...]
    minuses: tuple[bool, ...]
    """Whether a minus stands before each number: a sign, or a dash between words."""


def ordered(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """Sort the pictures of one sequence by the number in which their names differ.

    A minus before the number is its sign where some names lack it. It is a sign also where no
    letter or digit stands before it. Elsewhere it is a dash, as in `shot-0001`.

    Args:
        folder: Folder to name in a message.
        paths: Pictures of one kind, at least one.

    Raises:
        UnreadableMedia: A name has no number or belongs to another sequence, several numbers
            differ, or a number is missing or twice.
    """
    if len(paths) == 1:
        return list(paths)
    names = [_taken_apart(path) for path in paths]
    _check_alike(folder, names)
    place = _place(folder, names)
    signed = _is_sign(names, place)
    numbers = {name.path: _value(name, place, signed=signed) for name in names}
    in_order = sorted(paths, key=lambda path: (numbers[path], path.name))
    _check_gaps(folder, in_order, numbers)
    return in_order


def _taken_apart(path: Path) -> _Name:
    pieces = _DIGITS.split(path.stem.casefold())
    texts, digits = pieces[::2], tuple(pieces[1::2])
    minuses = tuple(text.endswith("-") for text in texts[:-1])
    bare = (*(text.removesuffix("-") for text in texts[:-1]), texts[-1])
    return _Name(path, bare, digits, minuses)


def _check_alike(folder: Path, names: Sequence[_Name]) -> None:
    """Refuse pictures that belong to no sequence, or to another one."""
    numbered = [name for name in names if name.digits]
    if not numbered:
        reason = f"holds {len(names)} pictures without a number, such as {names[0].path.name}: "
        raise UnreadableMedia(folder, f"{reason}number them in the order of time")
    usual, _ = Counter(name.texts for name in numbered).most_common(1)[0]
    example = next(name.path.name for name in numbered if name.texts == usual)
    for name in names:
        if not name.digits:
            reason = f"has no number in its name, but {example} beside it has: move it elsewhere"
            raise UnreadableMedia(name.path, reason)
        if name.texts != usual:
            reason = f"is not named like {example} beside it: keep one sequence in a folder"
            raise UnreadableMedia(name.path, reason)


def _place(folder: Path, names: Sequence[_Name]) -> int:
    """Find the number in which names differ."""
    values = [[(minus, int(n)) for minus, n in zip(name.minuses, name.digits, strict=True)]
              for name in names]  # fmt: skip
    places = [place for place, at in enumerate(zip(*values, strict=True)) if len(set(at)) > 1]
    if len(places) > 1:
        said = f"{names[0].path.name} and {names[-1].path.name}"
        reason = f"holds names that differ in {len(places)} numbers, such as {said}: leave one"
        raise UnreadableMedia(folder, reason)
    return places[0] if places else len(names[0].digits) - 1


def _is_sign(names: Sequence[_Name], place: int) -> bool:
    if not all(name.minuses[place] for name in names):
        return True
    before = names[0].texts[place]
    return not before[-1].isalnum() if before else place == 0


def _value(name: _Name, place: int, *, signed: bool) -> int:
    number = int(name.digits[place])
    return -number if signed and name.minuses[place] else number


def _check_gaps(folder: Path, in_order: Sequence[Path], numbers: dict[Path, int]) -> None:
    for before, after in itertools.pairwise(in_order):
        expected, found = numbers[before] + 1, numbers[after]
        pair = f"{before.name} and {after.name}"
        if found < expected:
            raise UnreadableMedia(folder, f"holds frame {found} twice, {pair}: keep one of them")
        if found > expected:
            raise UnreadableMedia(
                folder,
                f"holds nothing between {pair}: frame {expected} is missing; frames are numbered "
                f"without gaps",
            )
