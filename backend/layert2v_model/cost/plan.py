"""Whether and how a shot fits a device: offload, tiles, or a refusal that says what would fit."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from layert2v_model.cost.device import Device
from layert2v_model.cost.estimate import ModelSize, decode_bytes, denoise_bytes
from layert2v_model.shot import ShotFormat

TILE_PIXELS = 256 * 256
"""Pixels of the library's tiles, `AutoencoderKLWan.tile_sample_min_height` and `..._width`."""

Offload = Literal["none", "model", "group"]
"""none: all parts stay on the device; model: one part at a time; group: one block at a time."""

OFFLOADS: tuple[Offload, ...] = ("none", "model", "group")
"""The ways to offload, from the fastest to the smallest."""


@dataclass(frozen=True)
class Plan:
    """The way in which a shot can run on a device, or the reason why it cannot."""

    fits: bool
    """False where the shot must be refused with `sentence`."""
    offload: Offload
    """The weights that wait on the host."""
    tile_decode: bool
    """Decode in tiles, as the VAE's `enable_tiling`; a little slower."""
    peak_bytes: int
    """Estimated, on the device."""
    sentence: str
    """The decision, or the remedy, in words for people."""


def plan(shot: ShotFormat, model: ModelSize, device: Device) -> Plan:
    """Choose the fastest way that fits a device, or refuse with a remedy."""
    ways = [
        (offload, tiles, peak_bytes(shot, model, offload, tile_decode=tiles))
        for offload, tiles in _ways(model, device)
    ]
    for offload, tiles, peak in ways:
        if peak <= device.memory_bytes:
            return Plan(True, offload, tiles, peak, _said(peak, offload, device, tiles=tiles))
    offload, tiles, peak = min(ways, key=lambda way: way[2])
    return Plan(False, offload, tiles, peak, _refusal(shot, model, device, peak))


def _ways(model: ModelSize, device: Device) -> list[tuple[Offload, bool]]:
    """List what the device and the VAE can do, from the fastest to the smallest."""
    offloads = OFFLOADS[:1] if device.is_host else OFFLOADS
    tiles = (False, True) if model.can_tile else (False,)
    return [(offload, tile_decode) for offload in offloads for tile_decode in tiles]


def peak_bytes(shot: ShotFormat, model: ModelSize, offload: Offload, *, tile_decode: bool) -> int:
    """Estimate the most that is on the device at any time."""
    weights = model.weights_bytes
    denoise = denoise_bytes(shot, model)
    decode = decode_bytes(shot, model, TILE_PIXELS if tile_decode else None)
    if offload == "none":
        return sum(weights.values()) + max(denoise, decode)
    transformer = weights["transformer"]
    if offload == "group":
        # One block at work and the next on its way. The text encoder goes by layers.
        groups = 2 * transformer // model.transformer["num_layers"]
        return groups + weights["vae"] + weights["alpha_vae"] + max(denoise, decode)
    decoders = max(weights["vae"], weights["alpha_vae"])
    return max(transformer + denoise, decoders + decode, weights["text_encoder"])


def _said(peak: int, offload: Offload, device: Device, *, tiles: bool) -> str:
    kept = {
        "none": "all parts stay on the device",
        "model": "one part at a time is on the device",
        "group": "one block at a time is on the device, which is slower",
    }[offload]
    decoding = ", decoded in tiles" if tiles else ""
    return f"needs {_gib(peak)} of {_gib(device.memory_bytes)} on {device.name}: {kept}{decoding}"


def _refusal(shot: ShotFormat, model: ModelSize, device: Device, peak: int) -> str:
    fewer_layers = _largest(
        (replace(shot, num_foregrounds=n) for n in range(shot.num_foregrounds - 1, 0, -1)),
        model,
        device,
    )
    shorter = _largest(
        (replace(shot, num_frames=n) for n in range(shot.num_frames - 4, 0, -4)), model, device
    )
    remedies = []
    if fewer_layers:
        count = fewer_layers.num_foregrounds
        remedies.append(f"{count} foreground{'s' if count > 1 else ''}")
    if shorter:
        remedies.append(f"{shorter.num_frames} frames")
    remedy = f"use at most {' or '.join(remedies)}" if remedies else "make the picture smaller"
    return (
        f"the shot needs {_gib(peak)} at least, and {device.name} has "
        f"{_gib(device.memory_bytes)}; {remedy}"
    )


def _largest(shots: Iterable[ShotFormat], model: ModelSize, device: Device) -> ShotFormat | None:
    """Return the first that fits."""
    offload, tiles = _ways(model, device)[-1]
    limit = device.memory_bytes
    fitting = (s for s in shots if peak_bytes(s, model, offload, tile_decode=tiles) <= limit)
    return next(fitting, None)


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
