# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames and rates, for a take of one rate in a scene of another."""

from fractions import Fraction


def scene_fps(fps: int, fps_base: float) -> Fraction:
    """Give a Blender scene's exact frame rate, such as 24000/1001."""
    return Fraction(fps) / Fraction(fps_base).limit_denominator(10_000)


def take_fps(fps: float) -> Fraction:
    """Give a model's frame rate as a fraction. 0 or less means one frame per scene frame."""
    return Fraction(fps).limit_denominator(1001)


def frames_shown(num_frames: int, fps: Fraction, scene: Fraction) -> list[int]:
    """List, for each scene frame of a strip, the take's frame shown, from 0.

    Image strips show one image per scene frame, so a take of a lower rate repeats images and
    one of a higher rate skips some. The strip lasts as many seconds as the take, at least one
    frame.
    """
    if fps <= 0 or fps == scene:
        return list(range(num_frames))
    length = max(1, round(num_frames * scene / fps))
    return [min(num_frames - 1, int(index * fps / scene)) for index in range(length)]


def split_fps(fps: Fraction) -> tuple[int, float]:
    """Give Blender's `fps` and `fps_base` of a rate: 24000/1001 is 24 and 1.001."""
    whole = max(1, round(fps))
    return whole, float(whole / fps)
