"""The files of a clip's layers, from any kind of folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from layert2v_training.data.clip_footage import Footage


@dataclass(frozen=True)
class ClipLayer:
    """Footage of a foreground."""

    caption: str
    colour: Footage | None = None
    """None: full x matte."""
    matte: Footage | None = None
    """None: the colour's own alpha."""
    is_over_fill: bool = False
    """Colour may lie over one flat colour, as matting programs draw it (`flat_fill`)."""


@dataclass(frozen=True)
class ClipFiles:
    """Footage of a clip, and its captions."""

    path: Path
    """The clip's folder, or its line, for messages."""
    background: Footage
    background_caption: str
    layers: tuple[ClipLayer, ...]
    """Back to front."""
    full: Footage | None = None
    """None: the layers flattened."""
    full_caption: str = ""
    fps: Fraction | None = None
    """Rate of pictures, which do not say. A movie's own rate wins."""

    def footage(self) -> Iterator[Footage]:
        """Give everything there is to read."""
        yield from (self.full,) if self.full else ()
        yield self.background
        for layer in self.layers:
            yield from (item for item in (layer.colour, layer.matte) if item)
