"""Clips composed from real sprites over real photographs, with exact layers and captions.

Deterministic for (seed, index): a clip does not depend on those composed before it.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image

from layert2v_training.clips import ClipForeground, LayeredClip, Pixels
from layert2v_training.subjects import (
    CORE_BACKGROUNDS,
    CORE_SUBJECTS,
    HELD_OUT_BACKGROUNDS,
    PANORAMAS,
    PHOTOGRAPHS,
    SUBJECTS,
    is_held_out,
)

MOTIONS: dict[str, tuple[str, ...]] = {
    "still": ("standing still", "staying in place"),
    "right": ("moving to the right", "moving right", "going to the right"),
    "left": ("moving to the left", "moving left", "going to the left"),
    "up": ("rising", "moving up"),
    "down": ("sinking", "moving down"),
    "bounce": ("bouncing", "jumping up and down"),
    "grow": ("coming closer", "growing"),
    "shrink": ("moving away", "shrinking"),
}
"""Kinds of motion and the words for them."""

MOTION_WEIGHTS = {
    "still": 0.2, "right": 0.2, "left": 0.2, "up": 0.08, "down": 0.08, "bounce": 0.1,
    "grow": 0.07, "shrink": 0.07,
}  # fmt: skip
"""How often a motion is chosen, before those a recipe leaves out."""

CAMERAS: dict[str, str] = {
    "still": "",
    "left": ", the camera pans left",
    "right": ", the camera pans right",
    "in": ", the camera zooms in",
    "out": ", the camera zooms out",
}
"""Kinds of camera motion and what they add to a background's caption."""

CAPTIONED_MOTION = 0.8
"""Share of clips whose caption names the motion; in the rest it is the model's choice."""


@dataclass(frozen=True)
class SceneRecipe:
    """What to compose."""

    width: int
    height: int
    """Pixels."""
    num_frames: int
    foregrounds: tuple[int, ...] = (1,)
    """Numbers of foregrounds to choose from, evenly."""
    is_held_out: bool = False
    """Compose only subject-background pairs that training never shows."""
    is_unseen_photograph: bool = False
    """Use only the photographs that training never shows, with any subject."""
    is_core: bool = False
    """Use only the subjects and backgrounds of a short run."""
    subject_height: tuple[float, float] = (0.42, 0.68)
    """Smallest and largest height of a sprite, as shares of the picture's."""
    subject_centre: tuple[float, float] = (0.42, 0.68)
    """Highest and lowest vertical centre of a sprite, as shares of the height from the top."""
    panorama_yaw: float = 2 * np.pi
    """Radians: how far a panorama's camera may look aside."""
    motions: tuple[str, ...] = ()
    """Keys of `MOTIONS` to choose from; empty: all."""
    seed: int = 0


class SceneSource:
    """Composes clips from a folder that `assets.fetch_assets` filled."""

    def __init__(self, assets: Path, recipe: SceneRecipe) -> None:
        self.recipe = recipe
        self._sprites = {
            caption: _load_sprite(assets / "sprites" / f"{code}.png")
            for code, caption in SUBJECTS.items()
        }
        self._photographs = {
            caption: _load_rgb(assets / "photographs" / f"{key.replace('/', '_')}.png")
            for key, caption in PHOTOGRAPHS.items()
            if (caption in HELD_OUT_BACKGROUNDS) == recipe.is_unseen_photograph
        }
        self._panoramas = {
            caption: _load_rgb(assets / "panoramas" / f"{key.replace('/', '_')}.png")
            for key, caption in PANORAMAS.items()
            if not recipe.is_unseen_photograph
        }
        everything = sorted([*self._photographs, *self._panoramas])
        self._subjects = list(CORE_SUBJECTS) if recipe.is_core else sorted(self._sprites)
        self._backgrounds = list(CORE_BACKGROUNDS) if recipe.is_core else everything

    def clip(self, index: int) -> LayeredClip:
        """Compose clip `index`: any integer from 0; equal for equal recipe and index."""
        rng = np.random.default_rng((self.recipe.seed, index))
        count = int(rng.choice(self.recipe.foregrounds))
        scenery, subjects = self._choose(rng, count)
        camera = str(rng.choice(list(CAMERAS), p=[0.4, 0.2, 0.2, 0.1, 0.1]))
        background = self._background(rng, scenery, camera)
        places = _places(rng, count)
        foregrounds = tuple(
            self._foreground(rng, subject, place)
            for subject, place in zip(subjects, places, strict=True)
        )
        full = background
        for layer in foregrounds:
            alpha_THWC = layer.alpha_THW[..., None]
            full = np.asarray(layer.rgb_THWC * alpha_THWC + full * (1 - alpha_THWC), np.float32)
        caption = scenery + (CAMERAS[camera] if rng.random() < CAPTIONED_MOTION else "")
        return LayeredClip(full, background, caption, foregrounds)

    def _choose(self, rng: Generator, count: int) -> tuple[str, list[str]]:
        while True:
            scenery = str(rng.choice(self._backgrounds))
            subjects = [str(s) for s in rng.choice(self._subjects, count, replace=False)]
            held_out = [is_held_out(subject, scenery) for subject in subjects]
            fits = all(held_out) if self.recipe.is_held_out else not any(held_out)
            if fits or self.recipe.is_unseen_photograph:
                return scenery, subjects

    def _background(self, rng: Generator, scenery: str, camera: str) -> Pixels:
        if scenery in self._panoramas:
            return self._panorama_shot(rng, self._panoramas[scenery], camera)
        return self._photograph_shot(rng, self._photographs[scenery], camera)

    def _photograph_shot(self, rng: Generator, picture: Pixels, camera: str) -> Pixels:
        """Crop a moving window (pan or zoom) out of a photograph."""
        width, height, frames = self.recipe.width, self.recipe.height, self.recipe.num_frames
        rows, columns = picture.shape[:2]
        largest = min(columns / width, rows / height)
        scale = largest * rng.uniform(0.75, 0.95)
        slack_x, slack_y = columns - scale * width, rows - scale * height
        x, y = rng.uniform(0.2, 0.8) * slack_x, rng.uniform(0.3, 0.9) * slack_y
        travel = rng.uniform(0.04, 0.1) * scale * width
        shot = []
        for phase in np.linspace(-0.5, 0.5, frames):
            step = {"left": -travel, "right": travel}.get(camera, 0.0) * phase
            zoom = {"in": -0.14, "out": 0.14}.get(camera, 0.0) * phase
            size = min(scale * (1 + zoom), largest)
            left = np.clip(x + step + (scale - size) * width / 2, 0, columns - size * width)
            top = np.clip(y + (scale - size) * height / 2, 0, rows - size * height)
            shot.append(_crop(picture, left, top, size, width, height))
        return np.stack(shot)

    def _panorama_shot(self, rng: Generator, picture: Pixels, camera: str) -> Pixels:
        """Look into a panorama with a turning or zooming pinhole camera."""
        yaw = rng.uniform(0, self.recipe.panorama_yaw)
        pitch = rng.uniform(-0.12, 0.1)
        field = rng.uniform(1.2, 1.5)
        shot = []
        for phase in np.linspace(-0.5, 0.5, self.recipe.num_frames):
            turn = {"left": -0.14, "right": 0.14}.get(camera, 0.0) * phase
            zoom = {"in": -0.16, "out": 0.16}.get(camera, 0.0) * phase
            shot.append(self._look(picture, yaw + turn, pitch, field * (1 + zoom)))
        return np.stack(shot)

    def _look(self, picture: Pixels, yaw: float, pitch: float, field: float) -> Pixels:
        width, height = self.recipe.width, self.recipe.height
        rows, columns = picture.shape[:2]
        x, y = np.meshgrid(
            (np.arange(width) + 0.5 - width / 2) / (width / 2) * np.tan(field / 2),
            (np.arange(height) + 0.5 - height / 2) / (width / 2) * np.tan(field / 2),
        )
        forward, down = np.cos(pitch) - y * np.sin(pitch), y * np.cos(pitch) + np.sin(pitch)
        longitude = yaw + np.arctan2(x, forward)
        latitude = np.arctan2(down, np.hypot(x, forward))
        u = (longitude / (2 * np.pi) % 1.0) * columns
        v = (latitude / np.pi + 0.5) * rows
        looked = cv2.remap(
            picture,
            u.astype(np.float32),
            v.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        return np.asarray(looked, np.float32)

    def _foreground(self, rng: Generator, subject: str, place: float) -> ClipForeground:
        sprite = self._sprites[subject]
        motions = self.recipe.motions or tuple(MOTIONS)
        weights = np.array([MOTION_WEIGHTS[motion] for motion in motions])
        motion = str(rng.choice(motions, p=weights / weights.sum()))
        if motion == "right":
            sprite = sprite[:, ::-1]
        width, height, frames = self.recipe.width, self.recipe.height, self.recipe.num_frames
        size = rng.uniform(*self.recipe.subject_height) * height
        x0 = (place + rng.uniform(-0.06, 0.06)) * width
        y0 = rng.uniform(*self.recipe.subject_centre) * height
        travel = rng.uniform(0.15, 0.35) * width
        rgb, alpha = [], []
        for phase in np.linspace(-0.5, 0.5, frames):
            x, y, zoom = _move(motion, phase, travel)
            premultiplied = _draw(sprite, x0 + x, y0 + y, size * zoom, width, height)
            rgb.append(_straight(premultiplied))
            alpha.append(premultiplied[..., 3])
        words = ""
        if rng.random() < CAPTIONED_MOTION:
            words = " " + str(rng.choice(MOTIONS[motion]))
        return ClipForeground(np.stack(rgb), np.stack(alpha), subject + words)


def _move(motion: str, phase: float, travel: float) -> tuple[float, float, float]:
    """Offset in pixels and relative size at a phase from -0.5 to 0.5."""
    match motion:
        case "right":
            return travel * phase, 0.0, 1.0
        case "left":
            return -travel * phase, 0.0, 1.0
        case "up":
            return 0.0, -0.7 * travel * phase, 1.0
        case "down":
            return 0.0, 0.7 * travel * phase, 1.0
        case "bounce":
            return 0.0, -0.45 * travel * abs(np.sin(2 * np.pi * (phase + 0.5))), 1.0
        case "grow":
            return 0.0, 0.0, 1.0 + 0.5 * phase
        case "shrink":
            return 0.0, 0.0, 1.0 - 0.5 * phase
        case _:
            return 0.0, 0.0, 1.0


def _places(rng: Generator, count: int) -> list[float]:
    """Horizontal centres as shares of the width, in random depth order, mostly apart."""
    if count == 1:
        return [float(rng.uniform(0.25, 0.75))]
    slots = (np.arange(count) + 0.5) / count * 0.8 + 0.1
    return [float(slot) for slot in rng.permutation(slots)]


def _crop(
    picture: Pixels, left: float, top: float, scale: float, width: int, height: int
) -> Pixels:
    # The source has up to five times the pixels: blur to the target's Nyquist rate, then sample.
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.4 * scale) if scale > 1.2 else picture
    matrix = np.array([[scale, 0, left + scale / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(blurred, matrix, (width, height), flags=flags), np.float32)


def _draw(sprite: Pixels, x: float, y: float, size: float, width: int, height: int) -> Pixels:
    """Draw a premultiplied RGBA sprite, `size` pixels high, centred at (x, y): (H, W, 4)."""
    scale = sprite.shape[0] / size
    blurred = cv2.GaussianBlur(sprite, (0, 0), 0.4 * scale) if scale > 1.2 else sprite
    left, top = x - sprite.shape[1] / scale / 2, y - size / 2
    matrix = np.array(
        [[scale, 0, -left * scale + scale / 2 - 0.5], [0, scale, -top * scale + scale / 2 - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(blurred, matrix, (width, height), flags=flags)
    return np.clip(np.asarray(drawn, np.float32), 0, 1)


def _straight(premultiplied_HWC: Pixels) -> Pixels:
    """Unpremultiply and extend the colour smoothly where alpha is 0 (normalised blur)."""
    rgb, alpha = premultiplied_HWC[..., :3], premultiplied_HWC[..., 3:]
    sigma = premultiplied_HWC.shape[0] / 10
    spread = cv2.GaussianBlur(rgb, (0, 0), sigma)
    weight = cv2.GaussianBlur(alpha[..., 0], (0, 0), sigma)[..., None]
    mean = rgb.sum((0, 1)) / max(float(alpha.sum()), 1e-6)
    extended = (spread + 1e-3 * mean) / (weight + 1e-3)
    exact = rgb / np.maximum(alpha, 1e-6)
    return np.clip(np.where(alpha > 1 / 255, exact, extended), 0, 1).astype(np.float32)


def _load_rgb(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"), np.float32) / 255


def _load_sprite(path: Path) -> Pixels:
    """Load a sprite as premultiplied RGBA, padded so that blurring does not clip its edge."""
    rgba = np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    return np.pad(rgba, ((8, 8), (8, 8), (0, 0)))
