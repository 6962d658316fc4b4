from dataclasses import replace

import pytest

from layert2v_domain.shot import KeptLayer, LayerRole, LayerSpec, Shot, derive_seed

LAYERS = (
    LayerSpec(LayerRole.BACKGROUND, "a meadow", seed=3),
    LayerSpec(LayerRole.FOREGROUND, "a fox"),
)
FILLED = Shot(
    (LAYERS[0], replace(LAYERS[1], seed=0)), model="tiny", width=96, height=64, num_frames=9,
    num_inference_steps=4, guidance_scale=1.0,
)  # fmt: skip


def test_derived_seeds_are_the_same_on_every_machine() -> None:
    assert derive_seed(7, 1) == 48106307438866873
    assert 0 <= derive_seed(2**63 - 1, 6) < 2**63


def test_a_layer_has_its_own_seed_or_one_derived_from_the_shots() -> None:
    shot = Shot(LAYERS, seed=7)

    assert shot.seed_of(0) == 3
    assert shot.seed_of(1) == derive_seed(7, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"model": ""}, {"width": 0}, {"height": 0}, {"num_frames": 0}, {"num_inference_steps": 0},
        {"guidance_scale": 0.0}, {"layers": LAYERS},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_shot_is_filled_once_nothing_is_left_to_the_models_defaults(
    change: dict[str, object],
) -> None:
    assert FILLED.is_filled
    assert not replace(FILLED, **change).is_filled  # type: ignore[arg-type]


def test_the_source_of_a_kept_layer_is_named_and_has_an_id() -> None:
    assert KeptLayer("jobs/4f2a", 1).job_id == "4f2a"
