import copy

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from layert2v_model.errors import InvalidShot
from layert2v_model.network import block
from layert2v_model.network.transformer import (
    LayerT2VTransformer3DModel,
    velocity_of_preconditioned,
)
from layert2v_model.streams import batch_stream_text
from support.reference import reference_velocity
from support.toy_model import make_toy_transformer


def _texts(num_streams: int, batch_size: int = 2) -> list[list[Tensor]]:
    return [
        [torch.randn(1 + (3 * b + 2 * s) % 5, 16) for s in range(num_streams)]
        for b in range(batch_size)
    ]


def _run(
    model: LayerT2VTransformer3DModel, latents: Tensor, timestep: Tensor, texts: list[list[Tensor]]
) -> Tensor:
    text, mask = batch_stream_text(texts)
    with torch.no_grad():
        return model(latents, timestep, text, mask, return_dict=False)[0]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(7)


def test_tokens_of_several_frames_equal_the_unmodified_library() -> None:
    model = make_toy_transformer(patch_size=(3, 2, 2)).eval()
    latents, texts = torch.randn(2, 6, 4, 6, 4, 4), _texts(6)
    timestep = torch.rand(2, 6, 2) * 1000
    read = [[model.condition_embedder.text_embedder(t) for t in shot] for shot in texts]

    with torch.no_grad():
        theirs = reference_velocity(model, latents, timestep, read)

    ours = _run(model, latents, timestep, texts)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("num_streams", [4, 6, 8])
def test_it_equals_the_unmodified_library_on_one_long_video(num_streams: int) -> None:
    model = make_toy_transformer().eval()
    latents = torch.randn(2, num_streams, 4, 3, 4, 6)
    timestep = torch.rand(2, num_streams, 3) * 1000
    texts = _texts(num_streams)
    # The reference's embedder reads text of its own width, so its text goes through the MLP here.
    read = [[model.condition_embedder.text_embedder(t) for t in shot] for shot in texts]

    ours = _run(model, latents, timestep, texts)

    with torch.no_grad():
        theirs = reference_velocity(model, latents, timestep, read)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def test_one_timestep_for_all_equals_the_same_timestep_per_stream_and_frame() -> None:
    model = make_toy_transformer().eval()
    latents, texts = torch.randn(2, 6, 4, 2, 4, 4), _texts(6)
    timestep = torch.tensor([900.0, 20.0])

    shared = _run(model, latents, timestep, texts)
    per_stream = _run(model, latents, timestep[:, None, None].expand(2, 6, 1), texts)
    per_frame = _run(model, latents, timestep[:, None, None].expand(2, 6, 2), texts)

    torch.testing.assert_close(shared, per_stream)
    torch.testing.assert_close(shared, per_frame)


def test_each_shot_of_a_batch_is_computed_as_if_alone() -> None:
    model = make_toy_transformer().eval()
    latents, texts = torch.randn(2, 4, 4, 2, 4, 4), _texts(4)
    timestep = torch.tensor([500.0, 10.0])

    batch = _run(model, latents, timestep, texts)
    swapped = _run(model, latents.flip(0), timestep.flip(0), texts[::-1])
    alone = _run(model, latents[:1], timestep[:1], texts[:1])

    torch.testing.assert_close(batch, swapped.flip(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(batch[:1], alone, atol=1e-5, rtol=1e-5)


def test_the_first_foregrounds_number_row_is_never_read_and_never_trains() -> None:
    model = make_toy_transformer()
    latents, texts = torch.randn(1, 6, 4, 2, 4, 4), _texts(6, batch_size=1)
    timestep = torch.tensor([500.0])
    text, mask = batch_stream_text(texts)
    before = _run(model, latents, timestep, texts)

    model(latents, timestep, text, mask).sample.square().mean().backward()
    table = model.layer_adaln.foreground_modulation
    assert table.grad is not None
    assert table.grad[0].abs().max() == 0
    assert table.grad[1].abs().max() > 0
    assert table.grad[2].abs().max() == 0

    with torch.no_grad():
        table[0] = 5.0
    torch.testing.assert_close(_run(model, latents, timestep, texts), before, atol=0, rtol=0)


def test_a_fresh_model_has_no_layer_identity_beyond_position() -> None:
    model = LayerT2VTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, num_layers=1, ffn_dim=8, text_dim=16
    )

    assert model.layer_adaln(8).abs().max() == 0


def test_gradient_checkpointing_changes_no_gradient() -> None:
    model = make_toy_transformer()
    latents = torch.randn(1, 4, 4, 2, 4, 4)
    text, mask = batch_stream_text(_texts(4, batch_size=1))
    gradients = []

    for enable in (model.disable_gradient_checkpointing, model.enable_gradient_checkpointing):
        enable()
        model.zero_grad()
        model(latents, torch.tensor([300.0]), text, mask).sample.square().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])

    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed, atol=0, rtol=0)


def test_a_feed_forward_in_parts_equals_a_whole_one(monkeypatch) -> None:
    model = make_toy_transformer().eval()
    latents, texts = torch.randn(2, 6, 4, 3, 4, 4), _texts(6)
    timestep = torch.rand(2, 6, 3) * 1000
    whole = _run(model, latents, timestep, texts)

    monkeypatch.setattr(block, "FEED_FORWARD_BYTES", 7 * 4 * model.config.ffn_dim)
    in_parts = _run(model, latents, timestep, texts)

    torch.testing.assert_close(in_parts, whole, atol=1e-6, rtol=1e-6)


def test_bfloat16_autocast_trains_close_to_float32() -> None:
    model = make_toy_transformer()
    latents = torch.randn(1, 4, 4, 2, 4, 4)
    text, mask = batch_stream_text(_texts(4, batch_size=1))
    timestep = torch.tensor([300.0])
    exact = model(latents, timestep, text, mask).sample

    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(latents, timestep, text, mask).sample
    rounded.float().square().mean().backward()

    assert model.layer_adaln.layer_modulation.grad.isfinite().all()
    assert (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_it_is_saved_and_loaded_whole(tmp_path) -> None:
    model = make_toy_transformer(num_layers=3).eval()
    latents, texts = torch.randn(1, 4, 4, 2, 4, 4), _texts(4, batch_size=1)

    model.save_pretrained(tmp_path)
    again = LayerT2VTransformer3DModel.from_pretrained(tmp_path)

    assert again.config.num_layers == 3
    assert again.config.prompt_visibility == "isolated"
    timestep = torch.tensor([3.0])
    torch.testing.assert_close(
        _run(again, latents, timestep, texts), _run(model, latents, timestep, texts)
    )


def test_modulation_stays_float32_in_a_bfloat16_model(tmp_path) -> None:
    make_toy_transformer().save_pretrained(tmp_path)

    model = LayerT2VTransformer3DModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)

    assert model.dtype == torch.bfloat16
    for name in ("layer_adaln.layer_modulation", "blocks.0.scale_shift_table"):
        assert model.get_parameter(name).dtype == torch.float32
    velocity = _run(
        model.eval(),
        torch.randn(1, 4, 4, 2, 4, 4).bfloat16(),
        torch.tensor([500.0]),
        [[t.bfloat16() for t in shot] for shot in _texts(4, batch_size=1)],
    )
    assert velocity.dtype == torch.bfloat16


def test_the_librarys_first_block_cache_finds_the_blocks() -> None:
    model = make_toy_transformer().eval()
    model.enable_cache(FirstBlockCacheConfig(threshold=0.0))
    latents, texts = torch.randn(1, 4, 4, 2, 4, 4), _texts(4, batch_size=1)
    plain = copy.deepcopy(make_toy_transformer()).eval()
    plain.load_state_dict(
        {k.replace("_orig_mod.", ""): v for k, v in model.state_dict().items()}, strict=True
    )

    with model.cache_context("cond"):
        cached = _run(model, latents, torch.tensor([500.0]), texts)

    torch.testing.assert_close(cached, _run(plain, latents, torch.tensor([500.0]), texts))
    model._reset_stateful_cache()


@pytest.mark.parametrize("num_streams", [2, 5, 10])
def test_a_wrong_number_of_streams_is_an_invalid_shot(num_streams: int) -> None:
    model = make_toy_transformer()
    latents = torch.randn(1, num_streams, 4, 2, 4, 4)

    with pytest.raises(InvalidShot, match=r"streams|foregrounds"):
        model(latents, torch.tensor([1.0]), torch.randn(1, num_streams, 3, 16))


def test_more_time_positions_than_the_table_has_is_an_invalid_shot() -> None:
    model = make_toy_transformer(rope_max_seq_len=7)

    with pytest.raises(InvalidShot, match=r"8 positions, the model has 7"):
        model(torch.randn(1, 4, 4, 2, 4, 4), torch.tensor([1.0]), torch.randn(1, 4, 3, 16))


def test_shared_positions_begin_anew_in_each_stream() -> None:
    latents = torch.randn(1, 4, 4, 2, 4, 4)

    released = make_toy_transformer().rope(latents)[0]
    shared = make_toy_transformer(stream_positions="shared", rope_max_seq_len=2).rope(latents)[0]

    for stream in range(4):
        assert torch.equal(shared[:, stream], released[:, 0])
    assert not torch.equal(released[:, 1], released[:, 0])


def test_a_head_that_knows_picture_and_noise_gives_the_exact_velocity_at_every_t() -> None:
    picture, noise = torch.randn(1, 4, 2, 3, 4, 4), torch.randn(1, 4, 2, 3, 4, 4)
    t_BST = torch.tensor([0.0, 0.4, 1.0]).expand(1, 4, 3)
    t = t_BST[:, :, None, :, None, None]
    head = (t * picture - (1 - t) * noise) / ((1 - t) ** 2 + t**2).sqrt()

    velocity = velocity_of_preconditioned(head, (1 - t) * picture + t * noise, t_BST)

    torch.testing.assert_close(velocity, noise - picture)


def test_a_preconditioned_model_treats_one_timestep_and_one_per_frame_alike() -> None:
    model = make_toy_transformer(prediction_type="preconditioned").eval()
    plain = make_toy_transformer().eval()
    plain.load_state_dict(model.state_dict())
    latents, texts = torch.randn(2, 6, 4, 2, 4, 4), _texts(6)
    timestep = torch.tensor([900.0, 0.0])

    shared = _run(model, latents, timestep, texts)
    per_frame = _run(model, latents, timestep[:, None, None].expand(2, 6, 2), texts)

    torch.testing.assert_close(shared, per_frame)
    at_zero = -latents[1] - _run(plain, latents, timestep, texts)[1]
    torch.testing.assert_close(shared[1], at_zero)


def test_latents_that_do_not_fill_patches_are_an_invalid_shot() -> None:
    model = make_toy_transformer(patch_size=(3, 2, 2))

    with pytest.raises(InvalidShot, match=r"latents of 5 frames, 4 x 4"):
        model(torch.randn(1, 4, 4, 5, 4, 4), torch.tensor([1.0]), torch.randn(1, 4, 3, 16))


@pytest.mark.parametrize(
    "setting",
    [
        {"prompt_visibility": "open"},
        {"stream_positions": "apart"},
        {"foreground_fill": "green"},
        {"cross_stream_window": -1},
        {"prediction_type": "noise"},
        {"image_dim": 8},
    ],
)
def test_settings_without_an_implementation_are_refused(setting) -> None:
    with pytest.raises(ValueError, match="support"):
        make_toy_transformer(**setting)


def test_a_bfloat16_networks_velocity_is_made_of_latents_that_are_not_rounded() -> None:
    model = make_toy_transformer(prediction_type="preconditioned").eval().to(torch.bfloat16)
    torch.nn.init.zeros_(model.proj_out.weight)
    torch.nn.init.zeros_(model.proj_out.bias)
    latents, timestep = torch.randn(1, 4, 4, 2, 4, 4), torch.tensor([300.0])
    text = torch.randn(1, 4, 5, 16, dtype=torch.bfloat16)

    with torch.no_grad():
        velocity = model(latents, timestep, text).sample

    expected = (2 * 0.3 - 1) * latents / (0.7**2 + 0.3**2)
    torch.testing.assert_close(velocity, expected, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_a_compiled_block_serves_every_size_and_number_of_foregrounds() -> None:
    # Graphs are counted as they are captured, whatever compiles them then.
    model, counter = make_toy_transformer(num_layers=1).eval(), CompileCounterWithBackend("eager")
    model.compile_repeated_blocks(dynamic=True, backend=counter)

    def run(batch_size: int, num_streams: int, height: int, width: int) -> None:
        latents = torch.randn(batch_size, num_streams, 4, 3, height, width)
        text = torch.randn(batch_size, num_streams, 5 + num_streams, 16)
        mask = torch.ones(text.shape[:3], dtype=torch.bool)
        timestep = torch.rand(batch_size, num_streams, 3)
        model(latents, timestep, text, mask)

    # Sizes that happen to be equal share a symbol: one more graph where they are not.
    run(5, 4, 4, 10)
    run(7, 8, 6, 10)
    graphs = counter.frame_count
    for shape in ((2, 4, 6, 4), (9, 6, 8, 10), (11, 8, 4, 14)):
        run(*shape)

    assert graphs <= 2
    assert counter.frame_count == graphs
