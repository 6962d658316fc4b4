"""Builds shots as they are sent, for the model that `write_sketch_model` describes."""

import json
from pathlib import Path

from layert2v.v1 import shot_pb2

SKETCH_LIMITS = {
    "id": "sketch",
    "description": "Limits without weights, for tests of the front door.",
    "sizes": [[64, 48], [96, 64]],
    "num_frames": [5, 9],
    "max_foregrounds": 3,
    "max_prompt_chars": 60,
    "default_num_inference_steps": 4,
    "default_guidance_scale": 3.0,
    "fps": 8.0,
}

BACKGROUND = shot_pb2.LAYER_ROLE_BACKGROUND
FOREGROUND = shot_pb2.LAYER_ROLE_FOREGROUND


VOCABULARY = {
    "foregrounds": ["a cat", "a fox"],
    "backgrounds": ["a castle over a river", "a meadow"],
    "motions": ["standing still"],
    "cameras": ["the camera pans left"],
}
"""A vocabulary in the form of a card."""


def write_sketch_model(folder: Path, **fields: object) -> Path:
    """Write a model folder that holds limits only. `fields` are added to its card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "layert2v.json").write_text(json.dumps(SKETCH_LIMITS | fields))
    return folder


def make_shot(num_foregrounds: int = 2, **fields: object) -> shot_pb2.Shot:
    """Build a valid shot for the model `sketch`."""
    foregrounds = [
        shot_pb2.LayerSpec(role=FOREGROUND, prompt=f"animal {number}")
        for number in range(1, num_foregrounds + 1)
    ]
    background = shot_pb2.LayerSpec(role=BACKGROUND, prompt="a meadow")
    given = {"model": "sketch", "layers": [background, *foregrounds], "seed": 7} | fields
    return shot_pb2.Shot(**given)  # type: ignore[arg-type]


def keep_layer(shot: shot_pb2.Shot, index: int, job: str, layer_index: int) -> shot_pb2.Shot:
    """Keep one layer of `shot` from the take of `job`. Changes and returns the shot."""
    shot.layers[index].kept.job = job
    shot.layers[index].kept.layer_index = layer_index
    return shot
