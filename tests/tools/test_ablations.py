"""What the ablations compare, at toy size."""

import json
from pathlib import Path

import pytest
import torch

from ablation_variants import NETWORK, VARIANTS, FourAxisRotary
from ablations import COLUMNS, write_table
from layert2v_training.stages.joint import make_transformer

SMALL = {"num_layers": 1, "ffn_dim": 8, "in_channels": 4, "out_channels": 4, "text_dim": 8}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_network_that_learns(name: str) -> None:
    variant = VARIANTS[name]
    model = make_transformer({**variant.network, **SMALL})
    variant.change(model)
    torch.nn.init.normal_(model.proj_out.weight)

    latents = torch.randn(1, 4, 4, 3, 4, 4)
    velocity = model(latents, torch.tensor([500.0]), torch.randn(1, 4, 2, 8)).sample
    velocity.square().mean().backward()

    assert velocity.shape == latents.shape
    learns = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert ("layer_adaln.layer_modulation" in learns) == (name != "no-adaln")


def test_variants_differ_from_the_chosen_one_in_what_they_say() -> None:
    chosen = VARIANTS["chosen"]
    assert chosen.network == NETWORK
    for name, variant in VARIANTS.items():
        is_same = (variant.settings, variant.noise, variant.change) == (
            chosen.settings, chosen.noise, chosen.change
        )  # fmt: skip
        assert is_same == (name == "chosen")


def test_four_axes_give_streams_and_instants_positions_of_their_own() -> None:
    cos, sin = FourAxisRotary((1, 2, 2))(torch.zeros(1, 4, 4, 3, 4, 4))

    assert cos.shape == sin.shape == (1, 4, 12, 1, 128)
    assert torch.equal(cos[:, 0, :, :, 8:], cos[:, 3, :, :, 8:])
    assert not torch.equal(cos[:, 0, :, :, :8], cos[:, 3, :, :, :8])
    torch.testing.assert_close(cos**2 + sin**2, torch.ones_like(cos))


def test_the_table_has_a_row_for_each_run(tmp_path: Path) -> None:
    for name in ("chosen", "bleed"):
        (tmp_path / name).mkdir()
        found = {"variant": name, **dict.fromkeys(COLUMNS, 0.5)}
        (tmp_path / name / "figures.json").write_text(json.dumps(found))
        torch.save([torch.zeros(3, 4, 8)] * 2, tmp_path / name / "rows.pt")

    page = write_table(tmp_path).splitlines()

    assert [row.split("|")[1].strip() for row in page[2:]] == ["chosen", "bleed"]
    assert page[2].count("0.500") == len(COLUMNS)
    assert (tmp_path / "sheet.png").is_file()
