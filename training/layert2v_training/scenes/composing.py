"""Clips composed from real sprites over real photographs, with exact layers and captions.

Deterministic for (seed, index): a clip does not depend on those composed before it.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from layert2v_training.data.clips import ClipForeground, LayeredClip, Pixels, flatten, straight
from layert2v_training.scenes.drawing import crop, draw, load_rgb, load_sprite, without_aliases
from layert2v_training.scenes.effects import (
    PASSING_WORDS,
    LayerEffects,
    SceneEffects,
    draw_effects,
    passing_x,
    side_by_side,
)
from layert2v_training.scenes.scene_recipe import (
    CAMERAS,
    CAPTIONED_MOTION,
    MOTION_WEIGHTS,
    MOTIONS,
    SceneRecipe,
    words_of,
)
from layert2v_training.scenes.subjects import (
    HELD_OUT_BACKGROUNDS,
    PANORAMAS,
    PHOTOGRAPHS,
    SUBJECTS,
    is_held_out,
)


class SceneSource:
    """Composes clips from a folder that `assets.fetch_assets` filled."""

    def __init__(self, assets: Path, recipe: SceneRecipe) -> None:
        self.assets, self.recipe = assets, recipe
        self._sprites = {
            caption: load_sprite(assets / "sprites" / f"{code}.png")
            for code, caption in SUBJECTS.items()
        }
        self._photographs = {
            caption: load_rgb(assets / "photographs" / f"{key.replace('/', '_')}.png")
            for key, caption in PHOTOGRAPHS.items()
            if (caption in HELD_OUT_BACKGROUNDS) == recipe.is_unseen_photograph
        }
        self._panoramas = {
            caption: load_rgb(assets / "panoramas" / f"{key.replace('/', '_')}.png")
            for key, caption in PANORAMAS.items()
            if not recipe.is_unseen_photograph
        }
        self._subjects, self._backgrounds = words_of(recipe)
        weights = dict(recipe.subject_weights)
        shares = np.array([weights.get(subject, 1.0) for subject in self._subjects])
        self._shares = shares / shares.sum() if weights else None
        self._effects = recipe.effects or SceneEffects()

    def __reduce__(self) -> tuple[type["SceneSource"], tuple[Path, SceneRecipe]]:
        """Pickle as what it was made of: each worker reads the pictures itself."""
        return SceneSource, (self.assets, self.recipe)

    @property
    def key(self) -> str:
        """Changes with the recipe and with the manifest, which has the pictures' hashes."""
        described = asdict(self.recipe)
        manifest = (self.assets / "manifest.json").read_bytes()
        described["pictures"] = hashlib.sha256(manifest).hexdigest()
        for late in ("effects", "subject_weights"):
            if not described[late]:
                del described[late]
        return json.dumps(described)

    def clip(self, index: int) -> LayeredClip:
        """Compose clip `index`: any integer from 0; equal for equal recipe and index."""
        rng = np.random.default_rng((self.recipe.seed, index))
        effects_rng = np.random.default_rng((self.recipe.seed, index, 1))
        count = int(rng.choice(self.recipe.foregrounds))
        scenery, subjects = self._choose(rng, count)
        camera = str(rng.choice(list(CAMERAS), p=[0.4, 0.2, 0.2, 0.1, 0.1]))
        background = self._background(rng, scenery, camera)
        places = _places(rng, count)
        if effects_rng.random() < self._effects.occlusion:
            places = _crowded(effects_rng, count)
        foregrounds = tuple(
            self._foreground(rng, effects_rng, scenery, subject, place)
            for subject, place in zip(subjects, places, strict=True)
        )
        full = flatten(background, foregrounds)
        caption = scenery + (CAMERAS[camera] if rng.random() < CAPTIONED_MOTION else "")
        return LayeredClip(full, background, caption, foregrounds)

    def _choose(self, rng: Generator, count: int) -> tuple[str, list[str]]:
        while True:
            scenery = str(rng.choice(self._backgrounds))
            drawn = rng.choice(self._subjects, count, replace=False, p=self._shares)
            subjects = [str(subject) for subject in drawn]
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
        picture = without_aliases(picture, scale)
        shot = []
        for phase in np.linspace(-0.5, 0.5, frames):
            phase *= self._effects.pan
            step = {"left": -travel, "right": travel}.get(camera, 0.0) * phase
            zoom = {"in": -0.14, "out": 0.14}.get(camera, 0.0) * phase
            size = min(scale * (1 + zoom), largest)
            left = np.clip(x + step + (scale - size) * width / 2, 0, columns - size * width)
            top = np.clip(y + (scale - size) * height / 2, 0, rows - size * height)
            shot.append(crop(picture, left, top, size, width, height))
        return np.stack(shot)

    def _panorama_shot(self, rng: Generator, picture: Pixels, camera: str) -> Pixels:
        """Look into a panorama with a turning or zooming pinhole camera."""
        yaw = rng.uniform(0, self.recipe.panorama_yaw)
        pitch = rng.uniform(-0.12, 0.1)
        field = rng.uniform(1.2, 1.5)
        shot = []
        for phase in np.linspace(-0.5, 0.5, self.recipe.num_frames):
            phase *= self._effects.pan
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

    def _foreground(
        self, rng: Generator, effects_rng: Generator, scenery: str, subject: str, place: float
    ) -> ClipForeground:
        sprite, caption = self._sprites[subject], subject
        effects = draw_effects(effects_rng, self._effects, self.recipe.height)
        if effects.has_companion:
            companion = self._companion(effects_rng, scenery, subject)
            sprite = side_by_side(sprite, self._sprites[companion])
            caption = f"{subject} and {companion}"
        motions = self.recipe.motions or tuple(MOTIONS)
        weights = np.array([MOTION_WEIGHTS[motion] for motion in motions])
        motion = str(rng.choice(motions, p=weights / weights.sum()))
        if effects.passes and motion not in ("left", "right"):
            motion = str(effects_rng.choice(["left", "right"]))
        if motion == "right":
            sprite = sprite[:, ::-1]
        rgb, alpha = self._animate(rng, sprite, motion, place, effects)
        words = ""
        if rng.random() < CAPTIONED_MOTION:
            words = " " + str(rng.choice(MOTIONS[motion]))
        if effects.passes:
            # Always said: words without them must not go with an empty matte.
            words = " " + PASSING_WORDS[effects.passes, motion]
        return ClipForeground(rgb, alpha, caption + words)

    def _companion(self, rng: Generator, scenery: str, subject: str) -> str:
        """Choose another subject that may be seen where `subject` is."""
        is_out = is_held_out(subject, scenery)
        others = [s for s in self._subjects if s != subject and is_held_out(s, scenery) == is_out]
        return str(rng.choice(others)) if others else subject

    def _animate(
        self, rng: Generator, sprite: Pixels, motion: str, place: float, effects: LayerEffects
    ) -> tuple[Pixels, Pixels]:
        """Move a sprite through the clip: straight colour (T, H, W, 3) and alpha (T, H, W)."""
        width, height, frames = self.recipe.width, self.recipe.height, self.recipe.num_frames
        size = rng.uniform(*self.recipe.subject_height) * height
        x0 = (place + rng.uniform(-0.06, 0.06)) * width
        y0 = rng.uniform(*self.recipe.subject_centre) * height
        travel = rng.uniform(0.15, 0.35) * width
        half = size * sprite.shape[1] / sprite.shape[0] / 2

        def drawn_at(phase: float) -> Pixels:
            x, y, zoom = _move(motion, phase, travel)
            if effects.passes:
                x = passing_x(effects.passes, motion, x0, half, width, phase) - x0
            return draw(sprite, x0 + x, y0 + y, size * zoom, width, height)

        step = 1 / max(frames - 1, 1)
        drawn = [effects.frame(drawn_at, phase, step) for phase in np.linspace(-0.5, 0.5, frames)]
        return np.stack([straight(frame) for frame in drawn]), np.stack([f[..., 3] for f in drawn])


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


def _crowded(rng: Generator, count: int) -> list[float]:
    """Horizontal centres so close that subjects cover each other."""
    centre = rng.uniform(0.3, 0.7)
    return [float(centre + rng.uniform(-0.1, 0.1)) for _ in range(count)]
