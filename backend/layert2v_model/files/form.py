"""The relation of the colour of foreground files to their matte."""

from enum import StrEnum


class Form(StrEnum):
    """How the colour of foreground files relates to their matte."""

    AUTO = "auto"
    STRAIGHT = "straight"
    PREMULTIPLIED = "premultiplied"
