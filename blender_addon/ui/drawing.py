# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences in a sidebar, which does not wrap them."""

from typing import Any

LINE_CHARS = 46
"""Characters of a sentence per line."""


def draw_sentence(layout: Any, text: str, icon: str = "NONE") -> None:
    """Draw a long sentence over as many lines as it needs."""
    column = layout.column(align=True)
    line = ""
    for word in text.split():
        if line and len(line) + len(word) + 1 > LINE_CHARS:
            column.label(text=line, icon=icon)
            line, icon = "", "BLANK1" if icon != "NONE" else "NONE"
        line = f"{line} {word}".strip()
    if line:
        column.label(text=line, icon=icon)
