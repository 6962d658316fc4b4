"""The kinds of numbers that recipes hold, with the limits that `overrides.py` keeps."""

from typing import Annotated

from pydantic import Field

TOKEN_PIXELS = 16
"""Side of a token in pixels, in tiny and in Wan2.1: two latents of eight pixels."""

Count = Annotated[int, Field(ge=1)]
"""A count of at least one."""
WholeNumber = Annotated[int, Field(ge=0)]
"""A count from 0, or a seed."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of something, in [0, 1]."""
Decay = Annotated[float, Field(ge=0, lt=1)]
"""A share that is never all, in [0, 1)."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Finite, above 0."""
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Finite, 0 or above: weights of losses, seconds."""
FrameRate = Annotated[float, Field(ge=0.1, le=1000)]
"""Frames a second."""
Side = Annotated[int, Field(ge=TOKEN_PIXELS)]
"""Pixels of a side of a picture. A token is 16 by 16 of them."""
