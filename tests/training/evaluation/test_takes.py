from pathlib import Path

import pytest
import torch

from layert2v_model.alpha import light_of, premultiply
from layert2v_model.shot import ShotPrompts
from layert2v_model.stack import Layer, Role, Stack
from layert2v_training.evaluation.prompts import BadInput
from layert2v_training.evaluation.takes import TakeStore, take_key
from support.layered_scenes import make_scene

PROMPTS = ShotPrompts("", "a beach", ("a fox",))


def _with_light(scene: Stack) -> Stack:
    plate, fox = scene.layers
    light_T2 = light_of(premultiply(fox.rgb_TCHW, fox.alpha_T1HW), fox.alpha_T1HW)
    fox = Layer(Role.FOREGROUND, fox.rgb_TCHW, fox.alpha_T1HW, light_T2)
    return Stack((plate, fox), scene.full_TCHW)


def test_a_kept_take_comes_back_bit_for_bit(tmp_path: Path) -> None:
    take, store = _with_light(make_scene(1, 3)), TakeStore(tmp_path / "takes")
    store.save("a", take)

    again = store.load("a")

    assert again is not None
    assert torch.equal(again.full_TCHW, take.full_TCHW)
    for layer, kept in zip(take.layers, again.layers, strict=True):
        assert layer.role is kept.role
        assert torch.equal(layer.rgb_TCHW, kept.rgb_TCHW)
        assert torch.equal(layer.alpha_T1HW, kept.alpha_T1HW)
    assert again.background.light_T2 is None
    assert again.foregrounds[0].spill == take.foregrounds[0].spill


def test_a_take_that_is_not_there_or_damaged_is_none(tmp_path: Path) -> None:
    store = TakeStore(tmp_path)
    store.save("a", make_scene(1, 1))
    file = tmp_path / "a.safetensors"
    file.write_bytes(file.read_bytes()[:200])

    assert store.load("a") is None
    assert store.load("b") is None


def test_takes_are_named_by_all_they_follow_from() -> None:
    ball = torch.zeros(1, 3, 2, 2)
    keys = [
        take_key(PROMPTS, None, seed=1),
        take_key(PROMPTS, None, seed=2),
        take_key(ShotPrompts("", "a beach", ("a cat",)), None, seed=1),
        take_key(PROMPTS, {"full": ball}, seed=1),
        take_key(PROMPTS, {"background": ball}, seed=1),
        take_key(PROMPTS, {"full": ball + 1e-3}, seed=1),
    ]

    assert len(set(keys)) == len(keys)
    assert take_key(PROMPTS, {"full": ball.clone()}, seed=1) == keys[3]


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BadInput, match="cannot hold takes"):
        TakeStore(tmp_path / "file" / "takes")
