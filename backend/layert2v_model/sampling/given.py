"""Inputs of a shot: whole streams, some of their frames, or regions, checked once and merged.

Shape letters: T frames, C channels, H, W. Pixels are display-referred sRGB in [0, 1], RGB
straight. Nothing here computes with the model.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layert2v_model.errors import InvalidPlate, InvalidShot
from layert2v_model.sampling.grid import LatentGrid
from layert2v_model.streams import StreamRole, stream_layout


@dataclass(frozen=True, eq=False)
class Given:
    """A part of a stream that is an input: all its frames, some in a row, or a region of them.

    It holds either frames or latents.
    """

    frames_TCHW: Tensor | None = None
    """Straight sRGB (T, 3, H, W) or alpha (T, 1, H, W), floating point in [0, 1]."""
    first_frame: int = 0
    """Frame of the shot at which it begins, from 0."""
    region_T1HW: Tensor | None = None
    """Booleans per pixel, (T, 1, H, W) or one for all frames (1, 1, H, W), true where the frames
    are given. What lies outside is made and never read. None: everywhere."""
    latents_CTHW: Tensor | None = None
    """Whole latent frames from `LayerT2VPipeline.encode_stream`, instead of frames.
    They steer as frames do, and are decoded for the take."""


StreamGiven = Tensor | Given | Sequence[Given]
"""A whole stream, a part of one, or parts that do not overlap."""


@dataclass(frozen=True, eq=False)
class Plate:
    """All that is given of one stream, checked."""

    parts: tuple[Given, ...]
    """1 or more, not overlapping."""
    known_T1HW: Tensor
    """Booleans over the shot, true where a part gives the pixel. H and W are 1 without regions."""
    pinned_T1HW: Tensor
    """The same for parts given as frames: the pixels that the take shows bit for bit."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the stream is left to make."""
        return bool(self.known_T1HW.all())

    @property
    def is_pinned(self) -> bool:
        """Whether every pixel of the take is known, so that nothing need be decoded."""
        return bool(self.pinned_T1HW.all())

    def pinned_frames(self, grid: LatentGrid, fill: float = 0) -> Tensor:
        """Place the given frames: (T, C, H, W), `fill` where none is given.

        One part that fills the shot comes back as the tensor that came in.
        """
        framed = [(part, part.frames_TCHW) for part in self.parts if part.frames_TCHW is not None]
        if self.is_pinned and len(framed) == 1 and framed[0][0].region_T1HW is None:
            return framed[0][1]
        channels = framed[0][1].shape[1] if framed else 1
        placed_TCHW = torch.full((grid.num_frames, channels, grid.height, grid.width), float(fill))
        for part, frames_TCHW in framed:
            known_T1HW = _known(part, grid)
            first, last = _span(part, grid)
            placed_TCHW[first:last] = torch.where(
                known_T1HW[first:last],
                frames_TCHW.to("cpu", torch.float32),
                placed_TCHW[first:last],
            )
        return placed_TCHW

    def put_latents(self, latents_CTHW: Tensor, grid: LatentGrid) -> Tensor:
        """Put the given latents into those of the given frames: a copy, if there are any."""
        for part in self.parts:
            if part.latents_CTHW is None:
                continue
            spread_CTHW = torch.zeros_like(latents_CTHW)
            begin = grid.latent_frame(part.first_frame)
            spread_CTHW[:, begin : begin + part.latents_CTHW.shape[1]] = part.latents_CTHW
            covered_T1HW = grid.covered_latents(_known(part, grid)).to(latents_CTHW.device)
            latents_CTHW = torch.where(covered_T1HW.transpose(0, 1), spread_CTHW, latents_CTHW)
        return latents_CTHW

    def held_tokens(self, grid: LatentGrid) -> Tensor:
        """Find the frames of tokens that are given completely: booleans (F,)."""
        return grid.covered_tokens(grid.covered_latents(self.known_T1HW))

    def fills_tokens(self, grid: LatentGrid) -> bool:
        """Tell whether all that is given lies in frames of tokens that are given completely."""
        held_T = grid.frames_of_tokens(self.held_tokens(grid))
        return not self.known_T1HW[~held_T].any()


def check_given(
    given: Mapping[str, StreamGiven], grid: LatentGrid, num_foregrounds: int
) -> dict[str, Plate]:
    """Check what is given and merge the parts of each stream.

    Raises:
        InvalidPlate: A stream is unknown, has wrong shapes or ranges, or values that are not finite
            or outside [0, 1]. Parts overlap, or nothing is left to make. The message names the
            stream, its value and the remedy.
    """
    streams = {stream.name: stream for stream in stream_layout(num_foregrounds)}
    plates = {}
    for name, value in given.items():
        if name not in streams:
            raise InvalidPlate(f"{name} is not a stream of this shot; use {', '.join(streams)}")
        channels = 1 if streams[name].role is StreamRole.ALPHA else 3
        plates[name] = _plate(name, value, channels, grid)
    if plates.keys() == streams.keys() and all(plate.is_whole for plate in plates.values()):
        raise InvalidPlate("every stream is given, so nothing is left to make; leave one out")
    return plates


def check_looped(
    looped: Collection[str], plates: Mapping[str, Plate], names: Sequence[str]
) -> tuple[str, ...]:
    """Name the streams that loop; a foreground's alpha loops with it.

    Raises:
        InvalidShot: A name is no layer of this shot.
        InvalidPlate: Something of a stream that should loop is given.
    """
    layers = [name for name in names if not name.startswith("alpha_")]
    for layer in looped:
        if layer not in layers:
            raise InvalidShot(f"{layer} cannot loop; use {', '.join(layers)}")
    streams = tuple(name for name in names if name.replace("alpha_", "foreground_") in looped)
    for name in streams:
        if name in plates:
            raise InvalidPlate(
                f"{name} loops and is given; leave one out, or give the same frame at both "
                f"ends instead"
            )
    return streams


def _plate(name: str, value: StreamGiven, channels: int, grid: LatentGrid) -> Plate:
    if isinstance(value, Tensor):
        _check_shape(name, value, (grid.num_frames, channels, grid.height, grid.width))
        value = Given(value)
    parts = (value,) if isinstance(value, Given) else tuple(value)
    if not parts:
        raise InvalidPlate(f"{name} is given without a part; give one, or leave {name} out")
    known_T1HW = torch.zeros(grid.num_frames, 1, 1, 1, dtype=torch.bool)
    pinned_T1HW = known_T1HW
    for part in parts:
        _check_part(name, part, channels, grid)
        part_T1HW = _known(part, grid)
        twice_T = (known_T1HW & part_T1HW).flatten(1).any(1)
        if twice_T.any():
            frame = int(twice_T.nonzero()[0])
            raise InvalidPlate(f"frame {frame} of {name} is given twice: separate its parts")
        known_T1HW = known_T1HW | part_T1HW
        if part.frames_TCHW is not None:
            pinned_T1HW = pinned_T1HW | part_T1HW
    return Plate(parts, known_T1HW, pinned_T1HW)


def _known(part: Given, grid: LatentGrid) -> Tensor:
    """Say which pixels of the shot a part gives. H and W are 1 without a region."""
    first, last = _span(part, grid)
    known_T1HW = torch.zeros(grid.num_frames, 1, 1, 1, dtype=torch.bool)
    if part.region_T1HW is not None:
        known_T1HW = known_T1HW.repeat(1, 1, grid.height, grid.width)
    known_T1HW[first:last] = True if part.region_T1HW is None else part.region_T1HW.cpu()
    return known_T1HW


def _span(part: Given, grid: LatentGrid) -> tuple[int, int]:
    """First frame of a part, and the frame after its last."""
    if part.frames_TCHW is not None:
        return part.first_frame, part.first_frame + len(part.frames_TCHW)
    assert part.latents_CTHW is not None
    begin = grid.latent_frame(part.first_frame)
    return part.first_frame, grid.first_frame(begin + part.latents_CTHW.shape[1])


def _check_part(name: str, part: Given, channels: int, grid: LatentGrid) -> None:
    if (part.frames_TCHW is None) == (part.latents_CTHW is None):
        raise InvalidPlate(f"a part of {name} must hold either frames or latents: give one of them")
    if part.frames_TCHW is not None:
        count = max(len(part.frames_TCHW), 1) if part.frames_TCHW.ndim else 1
        _check_shape(name, part.frames_TCHW, (count, channels, grid.height, grid.width))
        _check_span(name, part, grid)
        _check_values(name, part.frames_TCHW)
    else:
        assert part.latents_CTHW is not None
        _check_latents(name, part.latents_CTHW, part.first_frame, grid)
        _check_span(name, part, grid)
    if part.region_T1HW is not None:
        first, last = _span(part, grid)
        _check_region(name, part.region_T1HW, last - first, grid)


def _check_latents(name: str, latents_CTHW: Tensor, first: int, grid: LatentGrid) -> None:
    channels, num_latents, height, width = grid.latent_shape
    count = latents_CTHW.shape[1] if latents_CTHW.ndim == 4 else 1
    _check_shape(name, latents_CTHW, (channels, max(count, 1), height, width), "channels, frames")
    if not latents_CTHW.is_floating_point() or not torch.isfinite(latents_CTHW).all():
        raise InvalidPlate(f"the latents of {name} are not finite numbers; encode it again")
    begins = [grid.first_frame(latent) for latent in range(num_latents)]
    if first not in begins:
        raise InvalidPlate(
            f"the latents of {name} begin at frame {first}, latent frames begin at "
            f"{', '.join(map(str, begins[:4]))} and so on; use {_nearest(begins, first)}"
        )


def _nearest(values: Sequence[int], wanted: int) -> int:
    return min(values, key=lambda value: abs(value - wanted))


def _check_span(name: str, part: Given, grid: LatentGrid) -> None:
    first, last = _span(part, grid)
    if first < 0 or last > grid.num_frames:
        raise InvalidPlate(
            f"{name} is given from frame {first} to {last - 1}, the shot has frames 0 to "
            f"{grid.num_frames - 1}; trim or move it"
        )


def _check_region(name: str, region_T1HW: Tensor, num_frames: int, grid: LatentGrid) -> None:
    shape = tuple(region_T1HW.shape)
    if shape not in ((num_frames, 1, grid.height, grid.width), (1, 1, grid.height, grid.width)):
        raise InvalidPlate(
            f"the region of {name} is {shape}, it needs ({num_frames} or 1, 1, {grid.height}, "
            f"{grid.width}) (frames, 1, height, width); resize it"
        )
    if region_T1HW.dtype != torch.bool:
        raise InvalidPlate(f"the region of {name} holds {region_T1HW.dtype}; give booleans")
    if not region_T1HW.any():
        raise InvalidPlate(f"the region of {name} is empty; leave it out")


def _check_shape(
    name: str, given: Tensor, shape: tuple[int, ...], axes: str = "frames, channels"
) -> None:
    if tuple(given.shape) != shape:
        raise InvalidPlate(
            f"{name} is {tuple(given.shape)}, the shot needs {shape} "
            f"({axes}, height, width); resize or trim it"
        )


def _check_values(name: str, frames_TCHW: Tensor) -> None:
    if not frames_TCHW.is_floating_point():
        raise InvalidPlate(f"{name} holds {frames_TCHW.dtype}; give floating point in [0, 1]")
    if not torch.isfinite(frames_TCHW).all():
        raise InvalidPlate(f"{name} holds values that are not numbers; repair those frames")
    lowest, highest = frames_TCHW.min().item(), frames_TCHW.max().item()
    if lowest < 0 or highest > 1:
        remedy = "clip it" if name.startswith("alpha_") else "convert it to display-referred sRGB"
        raise InvalidPlate(
            f"{name} reaches from {lowest:g} to {highest:g}, allowed is 0 to 1; {remedy} "
            f"(8-bit values are divided by 255)"
        )
