from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layert2v_model.stack import Layer, Role, Stack
from layert2v_training.evaluation.metrics.oracle import Oracle, subject_of
from layert2v_training.evaluation.prompts import ShotLine
from layert2v_training.scenes.subjects import CORE_SUBJECTS, SUBJECTS

LINE = ShotLine(background="a green meadow", foregrounds=("a cat moving left",))
HEIGHT, WIDTH = 48, 72


@pytest.fixture(scope="module")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of assets whose sprites are discs, each with a pattern of its own."""
    folder = tmp_path_factory.mktemp("patterned")
    (folder / "sprites").mkdir()
    rng = np.random.default_rng(3)
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    for code in SUBJECTS:
        pattern = np.kron(rng.integers(0, 255, (5, 5, 3)), np.ones((8, 8, 1)))
        alpha = np.clip((0.9 - np.hypot(x, y)) * 10, 0, 1) * 255
        rgba = np.dstack([pattern, alpha]).astype(np.uint8)
        Image.fromarray(rgba).save(folder / "sprites" / f"{code}.png")
    return folder


@pytest.fixture(scope="module")
def oracle(sprites: Path) -> Oracle:
    return Oracle(sprites, [LINE])


def _take(sprites: Path, subject: str) -> Stack:
    """One frame: the subject's sprite, 30 pixels high, over smooth colour."""
    code = next(code for code, caption in SUBJECTS.items() if caption == subject)
    sprite = Image.open(sprites / "sprites" / f"{code}.png").resize((30, 30))
    rgba = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    rgba[9:39, 21:51] = np.asarray(sprite, np.float32) / 255
    pixels_1CHW = torch.from_numpy(rgba).permute(2, 0, 1)[None]
    ramp = torch.linspace(0.2, 0.8, WIDTH).expand(1, 3, HEIGHT, WIDTH).contiguous()
    plate = Layer(Role.BACKGROUND, ramp, torch.ones(1, 1, HEIGHT, WIDTH))
    front = Layer(Role.FOREGROUND, pixels_1CHW[:, :3], pixels_1CHW[:, 3:])
    stack = Stack((plate, front), ramp)
    return replace(stack, full_TCHW=stack.flatten())


def test_a_prompt_names_the_longest_subject_that_begins_it() -> None:
    assert subject_of("a red car moving left") == "a red car"
    assert subject_of("a cat") == "a cat"
    assert subject_of("a catapult") is None


def test_the_right_subject_in_front_of_a_bare_plate_is_routed(
    oracle: Oracle, sprites: Path
) -> None:
    assert oracle.measure(_take(sprites, "a cat"), LINE) == {
        "routing": 1, "right_subject": 1, "subject_in_full": 1, "subject_in_background": 0,
    }  # fmt: skip


def test_another_subject_is_not(oracle: Oracle, sprites: Path) -> None:
    values = oracle.measure(_take(sprites, "a panda"), LINE)

    assert (values["routing"], values["right_subject"], values["subject_in_full"]) == (0, 0, 0)


def test_a_subject_that_also_stands_in_the_plate_is_found_there(
    oracle: Oracle, sprites: Path
) -> None:
    take = _take(sprites, "a cat")
    plate = replace(take.background, rgb_TCHW=take.full_TCHW)

    values = oracle.measure(replace(take, layers=(plate, take.layers[1])), LINE)

    assert (values["right_subject"], values["subject_in_background"]) == (1, 1)
    assert values["routing"] == 0


def test_words_that_name_no_known_subject_have_no_figures(oracle: Oracle, sprites: Path) -> None:
    unknown = ShotLine(background="a beach", foregrounds=("a wizard",))

    assert oracle.measure(_take(sprites, "a cat"), unknown) == {}


def test_the_choice_is_among_core_subjects_unless_others_are_named(sprites: Path) -> None:
    other = ShotLine(background="a beach", foregrounds=("a giraffe",))

    assert Oracle(sprites, [LINE]).subjects == CORE_SUBJECTS
    assert set(Oracle(sprites, [LINE, other]).subjects) == set(SUBJECTS.values())
