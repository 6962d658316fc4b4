import torch

from layert2v_model.streams import StreamRole, stream_layout
from layert2v_training.losses import add_noise, flow_matching_loss
from layert2v_training.noise import NoiseMixture, draw_given, draw_levels, draw_timesteps

LAYOUT = stream_layout(2)


def test_synchronous_noise_has_one_level_per_clip() -> None:
    torch.manual_seed(0)

    t_BST, given_BS = draw_timesteps(6, LAYOUT, 3, NoiseMixture())

    assert t_BST.shape == (6, 6, 3)
    assert (t_BST == t_BST[:, :1, :1]).all()
    assert not given_BS.any()


def test_given_streams_sit_at_zero_and_something_is_left_to_make() -> None:
    torch.manual_seed(0)

    t_BST, given_BS = draw_timesteps(200, LAYOUT, 3, NoiseMixture(synchronous=0, given_layers=1))

    assert (t_BST[given_BS] == 0).all()
    assert (t_BST[~given_BS] > 0).all()
    assert given_BS.any(1).all()
    assert not given_BS.all(1).any()


def test_a_foreground_is_given_with_its_alpha() -> None:
    torch.manual_seed(0)

    for _ in range(100):
        given = draw_given(LAYOUT)
        for stream, is_given in zip(LAYOUT, given, strict=True):
            partner = [
                flag
                for other, flag in zip(LAYOUT, given, strict=True)
                if other.foreground == stream.foreground and stream.foreground
            ]
            assert all(flag == is_given for flag in partner)


def test_decomposition_is_part_of_the_mixture() -> None:
    torch.manual_seed(0)
    full = torch.tensor([stream.role is StreamRole.FULL for stream in LAYOUT])

    assert any(torch.equal(draw_given(LAYOUT), full) for _ in range(100))


def test_independent_levels_differ_between_layers() -> None:
    torch.manual_seed(0)

    t_BST, _ = draw_timesteps(4, LAYOUT, 3, NoiseMixture(synchronous=0, given_layers=0))

    assert (t_BST[:, 2] == t_BST[:, 3]).all()
    assert (t_BST[:, 2] != t_BST[:, 4]).all()


def test_the_shift_moves_levels_towards_noise_as_the_sampler_does() -> None:
    torch.manual_seed(0)
    plain = draw_levels(4000, 1.0)
    torch.manual_seed(0)
    shifted = draw_levels(4000, 3.0)

    torch.testing.assert_close(shifted, 3 * plain / (1 + 2 * plain))


def test_the_loss_is_zero_at_the_true_velocity_and_ignores_given_streams() -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 2, 6, 4, 3, 2, 2).unbind(0)
    given = torch.zeros(2, 6, dtype=torch.bool)
    given[:, 1] = True
    velocity = noise - latents
    velocity[:, 1] = 99.0

    assert flow_matching_loss(velocity, latents, noise, given) == 0


def test_noise_at_level_zero_and_one() -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 1, 4, 4, 3, 2, 2).unbind(0)
    t = torch.zeros(1, 4, 3)
    t[:, 2:] = 1

    mixed = add_noise(latents, noise, t)

    assert torch.equal(mixed[:, :2], latents[:, :2])
    assert torch.equal(mixed[:, 2:], noise[:, 2:])
