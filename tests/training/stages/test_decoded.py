import pytest
import torch

from layert2v_model.alpha import flatten
from layert2v_training.stages.decoded import DecodedLosses, DecodedRecipe, picture_of
from layert2v_training.stages.losses import add_noise
from support.toy_model import make_toy_vae


def losses(**weights: float) -> DecodedLosses:
    torch.manual_seed(0)
    recipe = DecodedRecipe(**weights)
    return DecodedLosses(make_toy_vae(), make_toy_vae(), recipe, is_premultiplied=True)


def test_the_estimated_picture_is_the_picture_at_the_true_velocity_for_every_t() -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 1, 4, 4, 3, 2, 2).unbind(0)
    t_BST = torch.rand(1, 4, 3)
    t = t_BST[:, :, None, :, None, None]
    noisy = add_noise(latents, noise, t_BST)

    wrong_velocity = noise - latents + 1

    torch.testing.assert_close(picture_of(noisy, noise - latents, t), latents)
    torch.testing.assert_close(picture_of(noisy, wrong_velocity, t), latents - t.expand_as(latents))


def test_layers_that_composite_to_the_picture_cost_nothing() -> None:
    torch.manual_seed(0)
    truth, t_BST = torch.randn(1, 4, 4, 1, 2, 2), torch.full((1, 4, 1), 0.2)
    estimate = truth.clone().requires_grad_()

    found = losses(matte=0.1, composite=1.0)(estimate, truth, t_BST)
    sum(found.values()).backward()

    assert found.keys() == {"matte", "composite"}
    assert found["matte"].item() == found["composite"].item() == 0
    assert not estimate.grad.any()


def test_a_wrong_layer_costs_something_and_gets_a_gradient_through_the_decoder() -> None:
    torch.manual_seed(0)
    truth, t_BST = torch.randn(1, 6, 4, 1, 2, 2), torch.full((1, 6, 1), 0.2)
    estimate = (truth + torch.randn_like(truth)).requires_grad_()

    sum(losses(matte=0.1, composite=1.0)(estimate, truth, t_BST).values()).backward()

    assert (estimate.grad.flatten(2).abs().amax(2) > 0).all()


def test_pure_noise_costs_nothing() -> None:
    truth, noise = torch.randn(2, 1, 4, 4, 1, 2, 2).unbind(0)

    found = losses(matte=0.1, composite=1.0)(noise, truth, torch.ones(1, 4, 1))

    assert sum(found.values()).item() == 0


@pytest.mark.parametrize("is_premultiplied", [True, False])
def test_alpha_is_multiplied_in_once(is_premultiplied: bool) -> None:
    background, colour = torch.zeros(1, 3, 1, 1, 1), torch.full((1, 3, 1, 1, 1), 0.8)
    alpha = torch.full((1, 1, 1, 1, 1), 0.5)
    given = alpha * colour if is_premultiplied else colour

    result = flatten(background, [(given, alpha)], is_premultiplied=is_premultiplied)

    torch.testing.assert_close(result, 0.5 * colour)
