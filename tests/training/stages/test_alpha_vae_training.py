from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from layert2v_training.data.clips import ClipForeground, LayeredClip
from layert2v_training.data.sources import FileClips
from layert2v_training.runs.recipes import debug
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.stages.alpha_vae_training import alpha_loss, draw_alphas, render_loss


def test_the_alpha_loss_weighs_edges_more() -> None:
    target = -torch.ones(1, 1, 1, 8, 8)
    target[..., 4:] = 1
    at_edge, in_flat = target.clone(), target.clone()
    at_edge[..., 3] += 0.5
    in_flat[..., 0] += 0.5

    edge, flat = alpha_loss(at_edge, target), alpha_loss(in_flat, target)

    assert float(edge["reconstruction"]) == pytest.approx(float(flat["reconstruction"]))
    assert float(edge["edge"]) > 1.5 * float(flat["edge"])


def test_mattes_are_compared_by_what_they_show_over_random_colours() -> None:
    torch.manual_seed(0)
    target = torch.rand(2, 1, 1, 4, 4) * 2 - 1
    wrong = (target + 0.2).requires_grad_()

    right, loss = render_loss(target, target), render_loss(wrong, target)
    loss.backward()

    assert right.item() == 0
    assert 0 < loss.item() < 0.1
    assert (wrong.grad != 0).all()


def test_whole_clips_are_held_out_of_stage_1(assets: Path) -> None:
    scene = replace(debug().scene, foregrounds=(2,))
    source = SceneSource(assets, scene)

    learned, held_out = draw_alphas(source, 5)

    assert (len(learned), len(held_out)) == (8, 2)
    last = torch.from_numpy(source.clip(4).foregrounds[0].alpha_THW[None])
    assert torch.equal(held_out[0], last)
    assert not any(torch.equal(last, alpha) for alpha in learned)
    assert torch.equal(*draw_alphas(source, 1))


def test_a_file_that_is_held_out_is_never_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbered(self: FileClips, index: int) -> LayeredClip:
        plain = np.full((1, 4, 4, 3), 0.5, np.float32)
        alpha = np.full((1, 4, 4), index % 3 / 4, np.float32)
        return LayeredClip(plain, plain, "", (ClipForeground(plain, alpha, ""),))

    monkeypatch.setattr(FileClips, "clip", numbered)
    source = FileClips([None] * 3, None, 0, skip_bad=False)  # type: ignore[list-item, arg-type]

    learned, held_out = draw_alphas(source, 12)

    shown = [
        {min(float(a.max()), 1 - float(a.max())) for a in part} for part in (learned, held_out)
    ]
    assert shown == [{0.0, 0.25}, {0.5}]


def test_every_file_gives_its_mattes_as_they_are_and_some_inverted_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def numbered(self: FileClips, index: int) -> LayeredClip:
        plain = np.full((1, 4, 4, 3), 0.5, np.float32)
        alpha = np.full((1, 4, 4), index / 16, np.float32)
        return LayeredClip(plain, plain, "", (ClipForeground(plain, alpha, ""),))

    monkeypatch.setattr(FileClips, "clip", numbered)
    source = FileClips([None] * 5, None, 0, skip_bad=False)  # type: ignore[list-item, arg-type]

    drawn = [float(alpha.max()) for part in draw_alphas(source, 5) for alpha in part]

    assert sorted(drawn) == [0, 1 / 16, 2 / 16, 3 / 16, 4 / 16, 12 / 16, 1]
