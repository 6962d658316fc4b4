import pytest
import torch
from torch import Tensor

from layert2v_model.sampling.conditioning import condition
from layert2v_model.sampling.given import Given, check_given
from layert2v_model.sampling.grid import LatentGrid
from layert2v_model.streams import StreamRole, stream_layout
from layert2v_training.stages.losses import add_noise, flow_matching_loss
from layert2v_training.stages.noise import (
    Grid,
    NoiseMixture,
    draw_given,
    draw_given_frames,
    draw_levels,
    draw_timesteps,
)

LAYOUT = stream_layout(2)
GRID = Grid(num_frames=3, frames_per_token=2, height=4, width=5)


def draw(batch_size: int, **shares: float) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return draw_timesteps(batch_size, LAYOUT, GRID, NoiseMixture(**{"synchronous": 0, **shares}))


def test_synchronous_noise_has_one_level_per_clip() -> None:
    t_BSF, given = draw(6, synchronous=1)

    assert t_BSF.shape == (6, 6, 3)
    assert (t_BSF == t_BSF[:, :1, :1]).all()
    assert not given.any()


def test_given_streams_sit_at_zero_and_something_is_left_to_make() -> None:
    t_BSF, given = draw(200, given_layers=1)

    given_BS = given[:, :, 0, 0, 0]
    assert given.shape == (200, 6, 1, 1, 1)
    assert (t_BSF[given_BS] == 0).all()
    assert (t_BSF[~given_BS] > 0).all()
    assert given_BS.any(1).all()
    assert not given_BS.all(1).any()


def test_most_foregrounds_are_given_with_their_alpha_and_frames_always_are() -> None:
    torch.manual_seed(0)

    given_NS = torch.stack([draw_given(LAYOUT) for _ in range(300)])
    for _ in range(100):
        given_SF = draw_given_frames(LAYOUT, 3)
        for number in (2, 4):
            assert torch.equal(given_SF[number], given_SF[number + 1])

    is_apart_N = (given_NS[:, 2::2] != given_NS[:, 3::2]).any(1)
    assert 0.08 < is_apart_N.float().mean() < 0.25


@pytest.mark.parametrize("num_foregrounds", [1, 2])
def test_every_kind_of_subset_is_given_and_never_all(num_foregrounds: int) -> None:
    layout = stream_layout(num_foregrounds)
    torch.manual_seed(0)

    drawn = {tuple(draw_given(layout).tolist()) for _ in range(3000)}

    assert len(drawn) == 2 ** len(layout) - 2
    assert all(any(given) and not all(given) for given in drawn)


def test_equal_seeds_give_equal_subsets() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        draws.append(torch.stack([draw_given(LAYOUT) for _ in range(50)]))

    assert torch.equal(*draws)


def test_decomposition_is_part_of_the_mixture() -> None:
    torch.manual_seed(0)
    full = torch.tensor([stream.role is StreamRole.FULL for stream in LAYOUT])

    assert any(torch.equal(draw_given(LAYOUT), full) for _ in range(100))


def test_given_frames_sit_at_zero_and_the_others_at_one_level() -> None:
    t_BSF, given = draw(200, given_frames=1)

    given_BSF = given[:, :, ::2, 0, 0]
    assert given.shape == (200, 6, 6, 1, 1)
    assert torch.equal(given[:, :, ::2], given[:, :, 1::2])
    assert (t_BSF[given_BSF] == 0).all()
    for t_SF, given_SF in zip(t_BSF, given_BSF, strict=True):
        assert len(t_SF[~given_SF].unique()) == 1
        assert given_SF.any()


def test_a_take_is_extended_at_either_end_and_a_gap_is_filled() -> None:
    torch.manual_seed(0)

    drawn = {tuple(row.tolist()) for _ in range(300) for row in draw_given_frames(LAYOUT, 3)}

    assert {(True, False, False), (False, False, True), (True, False, True)} <= drawn


def test_a_layer_is_extended_beside_layers_that_are_given_whole() -> None:
    torch.manual_seed(0)

    rows = [draw_given_frames(LAYOUT, 3).sum(1) for _ in range(100)]

    assert any(row.amax() == 3 and 0 < row.amin() < 3 for row in rows)


def test_a_window_of_one_frame_gives_whole_layers_instead_of_ranges() -> None:
    torch.manual_seed(0)
    mixture = NoiseMixture(synchronous=0, given_frames=1)

    t_BSF, given = draw_timesteps(50, LAYOUT, Grid(1, 1, 4, 5), mixture)

    assert torch.equal(t_BSF[..., 0] == 0, given[:, :, 0, 0, 0])
    assert not given.flatten(1).all(1).any()


def test_a_region_is_as_noisy_as_the_rest_and_holes_are_drawn_too() -> None:
    t_BSF, given = draw(200, given_regions=1)

    assert given.shape == (200, 6, 1, 4, 5)
    assert (t_BSF == t_BSF[:, :1, :1]).all()
    assert not given.flatten(1).all(1).any()
    corners = given[..., 0, 0] & given[..., -1, -1] & given[..., 0, -1] & given[..., -1, 0]
    assert corners.any()
    assert given.any((1, 2, 3, 4)).all()


def test_hidden_givens_are_pure_noise() -> None:
    t_BSF, given = draw(100, given_frames=1, hidden=1)

    assert (t_BSF[given[:, :, ::2, 0, 0]] == 1).all()
    assert not (t_BSF == 0).any()


def test_independent_levels_differ_between_layers() -> None:
    t_BSF, _ = draw(4)

    assert (t_BSF[:, 2] == t_BSF[:, 3]).all()
    assert (t_BSF[:, 2] != t_BSF[:, 4]).all()


def test_independent_frames_have_a_level_for_each_stream_and_frame() -> None:
    t_BSF, given = draw(4, independent_frames=1)

    assert len(t_BSF.unique()) == t_BSF.numel()
    assert not given.any()


def test_given_frames_and_regions_are_those_of_a_shot() -> None:
    grid = LatentGrid(
        num_frames=3, height=4, width=4, channels=1, temporal_factor=1, spatial_factor=1,
        frames_per_token=1,
    )  # fmt: skip
    region = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    region[..., :2, :] = True
    frames = torch.zeros(1, 3, 4, 4)
    given = {"full": Given(frames), "background": Given(frames.repeat(3, 1, 1, 1), 0, region)}

    plates = check_given(given, grid, 1)
    covered = {name: grid.covered_latents(plate.known_T1HW) for name, plate in plates.items()}
    noise = {stream.name: torch.zeros(1, 1, 3, 4, 4) for stream in stream_layout(1)}
    conditioning = condition(noise, {}, covered, grid, can_hold=True)

    timesteps = conditioning.timesteps(torch.tensor(700.0), held=0.0)
    assert timesteps[0, 0].tolist() == [0, 700, 700]
    assert (timesteps[0, 1] == 700).all()
    assert conditioning.is_clamped


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"given_frames": 1.5}, "given_frames is 1.5"),
        ({"synchronous": 0.8, "given_regions": 0.3}, "synchronous 0.8, given_regions 0.3 add up"),
        ({"shift": 0.0}, "shift is 0"),
        ({"detail": 2.0}, "detail is 2"),
    ],
)
def test_shares_that_are_none_are_refused_by_name(shares: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NoiseMixture(**shares)


def test_the_shift_moves_levels_towards_noise_as_the_sampler_does() -> None:
    torch.manual_seed(0)
    plain = draw_levels(4000, 1.0)
    torch.manual_seed(0)
    shifted = draw_levels(4000, 3.0)

    torch.testing.assert_close(shifted, 3 * plain / (1 + 2 * plain))


def test_detail_draws_more_low_levels_for_a_share_of_the_clips() -> None:
    plain, _ = draw(4000, synchronous=1, shift=3)
    detailed, _ = draw(4000, synchronous=1, shift=3, detail=0.5)

    low = [(t_BSF[:, 0, 0] < 0.5).float().mean().item() for t_BSF in (plain, detailed)]

    # 13.6 and 34.3 % of the levels of shifts 3 and 1.5 lie below one half.
    assert low == pytest.approx([0.136, 0.24], abs=0.025)


@pytest.mark.parametrize("share", ["given_layers", "given_frames", "given_regions"])
def test_the_loss_is_zero_at_the_true_velocity_and_ignores_what_is_given(share: str) -> None:
    _, given = draw(3, **{share: 1})
    latents, noise = torch.randn(2, 3, 6, 4, 6, 4, 5).unbind(0)
    hidden_BSCTHW = given.unsqueeze(2).expand_as(latents)
    velocity = torch.where(hidden_BSCTHW, 99.0, noise - latents)

    assert flow_matching_loss(velocity, latents, noise, given) == 0
    assert flow_matching_loss(velocity + 1, latents, noise, given) == pytest.approx(1)


def test_noise_at_level_zero_and_one() -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 1, 4, 4, 3, 2, 2).unbind(0)
    t = torch.zeros(1, 4, 3)
    t[:, 2:] = 1

    mixed = add_noise(latents, noise, t)

    assert torch.equal(mixed[:, :2], latents[:, :2])
    assert torch.equal(mixed[:, 2:], noise[:, 2:])
