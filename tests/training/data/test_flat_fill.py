import numpy as np

from layert2v_training.data.flat_fill import straight_over_fill


def test_a_fill_is_taken_out_of_soft_edges() -> None:
    alpha = np.tile(np.linspace(0, 1, 40, dtype=np.float32).clip(0.2, 0.8) - 0.2, (2, 30, 1)) / 0.6
    colour = np.array([0.9, 0.3, 0.1], np.float32)
    fill = np.array([0.47, 1.0, 0.61], np.float32)
    drawn = alpha[..., None] * colour + (1 - alpha[..., None]) * fill

    straight = straight_over_fill(drawn, alpha)

    seen = alpha > 0.05
    np.testing.assert_allclose(straight[seen], np.tile(colour, (seen.sum(), 1)), atol=1e-3)
    assert straight.dtype == np.float32


def test_a_picture_around_the_subject_leaves_its_colour_as_it_is() -> None:
    colour = np.random.default_rng(0).uniform(0, 1, (2, 30, 40, 3)).astype(np.float32)
    alpha = np.zeros((2, 30, 40), np.float32)
    alpha[:, 10:20, 10:20] = 0.5

    assert straight_over_fill(colour, alpha) is colour


def test_a_subject_that_fills_the_frame_is_left_as_it_is() -> None:
    colour = np.full((1, 4, 4, 3), 0.5, np.float32)

    assert straight_over_fill(colour, np.full((1, 4, 4), 0.5, np.float32)) is colour
