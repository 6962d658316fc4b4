import subprocess
import sys

import pytest

from layert2v_model.shot import ShotFormat, compose_full_prompt


@pytest.mark.parametrize(
    ("foregrounds", "sentence"),
    [
        (["A fox"], "A fox, in front of a beach"),
        (["A fox", "a ball."], "A fox and a ball, in front of a beach"),
        (["A fox", "a ball", "a  kite"], "A fox, a ball and a kite, in front of a beach"),
    ],
)
def test_a_full_prompt_is_composed_from_the_layers(foregrounds: list[str], sentence: str) -> None:
    assert compose_full_prompt("a beach.", foregrounds) == sentence


def test_a_format_says_how_many_streams_and_prompts_are_computed_together() -> None:
    plain = ShotFormat(96, 64, 9, num_foregrounds=2, num_inference_steps=4)
    guided = ShotFormat(96, 64, 9, 1, 4, guidance_scale=3.0)

    assert (plain.num_streams, plain.batch_size) == (6, 1)
    assert (guided.num_streams, guided.batch_size) == (4, 2)


def test_a_shot_is_described_without_torch() -> None:
    code = "import sys, layert2v_model.shot; sys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)
