import pytest
import torch

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.streams import batch_stream_text
from support.reference import reference_velocity
from support.toy_model import make_toy_transformer


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(11)


def _same_weights(**settings) -> LayerT2VTransformer3DModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make_toy_transformer(**settings).eval()


def _texts(num_streams: int, batch_size: int = 1) -> list[list[torch.Tensor]]:
    return [[torch.randn(2 + s % 3, 16) for s in range(num_streams)] for _ in range(batch_size)]


@pytest.mark.parametrize(
    ("num_streams", "num_frames", "window", "patch_frames"),
    [(4, 1, 0, 1), (4, 4, 0, 1), (6, 5, 1, 1), (8, 6, 2, 1), (6, 9, 1, 3), (4, 4, 3, 1)],
)
def test_a_window_equals_a_dense_mask_on_one_long_video(
    num_streams: int, num_frames: int, window: int, patch_frames: int
) -> None:
    model = _same_weights(cross_stream_window=window, patch_size=(patch_frames, 2, 2))
    latents = torch.randn(2, num_streams, 4, num_frames, 4, 6)
    texts = _texts(num_streams, batch_size=2)
    timestep = torch.rand(2, num_streams, num_frames // patch_frames) * 1000
    with torch.no_grad():
        read = [[model.condition_embedder.text_embedder(t) for t in shot] for shot in texts]

        ours = model(latents, timestep, *batch_stream_text(texts)).sample

        theirs = reference_velocity(model, latents, timestep, read, window)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("window", [3, 4, 100])
def test_a_window_as_long_as_the_shot_is_full_attention(window: int) -> None:
    latents, texts = torch.randn(1, 6, 4, 4, 4, 4), _texts(6)
    arguments = (latents, torch.tensor([700.0]), *batch_stream_text(texts))

    with torch.no_grad():
        windowed = _same_weights(cross_stream_window=window)(*arguments).sample
        full = _same_weights()(*arguments).sample

    torch.testing.assert_close(windowed, full, atol=0, rtol=0)


def test_a_window_changes_what_a_network_without_timesteps_per_frame_makes() -> None:
    latents, texts = torch.randn(1, 4, 4, 5, 4, 4), _texts(4)
    arguments = (latents, torch.tensor([700.0]), *batch_stream_text(texts))

    with torch.no_grad():
        windowed = _same_weights(cross_stream_window=1, per_stream_timesteps=False)(*arguments)
        full = _same_weights(per_stream_timesteps=False)(*arguments)

    assert (windowed.sample - full.sample).abs().max() > 1e-3


def test_a_window_sees_its_own_stream_whole_and_no_far_instant_of_another() -> None:
    model = _same_weights(cross_stream_window=1, num_layers=1)
    latents, texts = torch.randn(1, 4, 4, 5, 4, 4), _texts(4)
    changed = latents.clone()
    changed[:, 1, :, 4] += 1
    text, timestep = batch_stream_text(texts), torch.tensor([700.0])

    with torch.no_grad():
        difference = model(changed, timestep, *text).sample - model(latents, timestep, *text).sample
    moved_SF = difference.abs().amax(dim=(0, 2, 4, 5)) > 1e-7

    assert moved_SF[1].all()
    assert moved_SF[2].tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_through_a_window_equal_those_through_a_dense_mask(checkpointing: bool) -> None:
    model = _same_weights(cross_stream_window=1)
    if checkpointing:
        model.enable_gradient_checkpointing()
    texts = _texts(4)
    read = [[model.condition_embedder.text_embedder(t) for t in shot] for shot in texts]
    timestep = torch.rand(1, 4, 4) * 1000
    ours, theirs = (torch.full((1, 4, 4, 4, 4, 4), 0.5).requires_grad_() for _ in range(2))

    model(ours, timestep, *batch_stream_text(texts)).sample.square().mean().backward()
    reference_velocity(model, theirs, timestep, read, window=1).square().mean().backward()

    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-7, rtol=1e-4)
    assert model.blocks[0].attn1.to_k.weight.grad.abs().max() > 0


def test_the_window_of_a_saved_model_can_be_changed_when_loading(tmp_path) -> None:
    _same_weights(cross_stream_window=2).save_pretrained(tmp_path)

    kept = LayerT2VTransformer3DModel.from_pretrained(tmp_path)
    opened = LayerT2VTransformer3DModel.from_pretrained(tmp_path, cross_stream_window=None)

    assert kept.config.cross_stream_window == 2
    assert opened.config.cross_stream_window is None


@pytest.mark.parametrize("window", [None, 1])
def test_text_read_once_equals_text_read_in_every_step(window: int | None) -> None:
    model = _same_weights(cross_stream_window=window)
    latents, texts = torch.randn(2, 6, 4, 3, 4, 4), _texts(6, batch_size=2)
    texts[1] = [texts[1][0]] * 6
    text, mask = batch_stream_text(texts)

    with torch.no_grad():
        read = model.read_text(text, mask)
        for timestep in (torch.tensor([900.0, 20.0]), torch.rand(2, 6, 3) * 1000):
            ours = model(latents, timestep, read).sample
            plain = model(latents, timestep, text, mask).sample
            torch.testing.assert_close(ours, plain, atol=1e-6, rtol=1e-6)


def test_each_distinct_text_is_read_once() -> None:
    model = _same_weights()
    foreground, negative = torch.randn(4, 16), torch.randn(2, 16)
    shot = [torch.randn(5, 16), torch.randn(3, 16), foreground, foreground]
    text, mask = batch_stream_text([shot, [negative] * 4])

    with torch.no_grad():
        read = model.read_text(text, mask)

    assert read.tokens_UND.shape == (4, 5, 24)
    assert read.row_BS.tolist() == [[0, 1, 2, 2], [3, 3, 3, 3]]


def test_text_is_read_in_every_step_where_blocks_are_offloaded_by_groups() -> None:
    plain, model = _same_weights(), _same_weights()
    model.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
    )
    latents, timestep = torch.randn(1, 4, 4, 2, 4, 4), torch.tensor([500.0])
    text, mask = batch_stream_text(_texts(4))

    with torch.no_grad():
        read = model.read_text(text, mask)
        ours = model(latents, timestep, read).sample
        expected = plain(latents, timestep, text, mask).sample

    assert read.key_values == ()
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6)


def test_a_window_under_context_parallel_is_refused() -> None:
    model = _same_weights(cross_stream_window=1)
    for block in model.blocks:
        block.attn1.processor._parallel_config = object()

    with pytest.raises(ValueError, match="context parallel"):
        model(torch.randn(1, 4, 4, 4, 4, 4), torch.tensor([5.0]), *batch_stream_text(_texts(4)))
