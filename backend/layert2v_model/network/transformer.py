"""LayerT2V's diffusion transformer on diffusers' Wan classes.

Shape letters: B batch, S streams, L tokens of one stream (its frames one after another),
F modulated frames (1, or the T // patch frames of tokens), N text tokens, D width, C channels,
T, H, W.
Tokens stay (B, S, L, D); time and layer modulation is (B, S, F, 6, D) and broadcast, never held
per token.
"""

from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.hooks.group_offloading import _is_group_offload_enabled
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.modeling_outputs import Transformer2DModelOutput

# `DiffusionPipeline.from_pretrained` looks in a part's module for the class that can load it.
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.utils import apply_lora_scale
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from torch import Tensor, nn

from layert2v_model.network.attention import text_key_value
from layert2v_model.network.block import LayerT2VTransformerBlock, modulated
from layert2v_model.network.kept_streams import HeldStreams
from layert2v_model.network.modulation import LayerAdaLN, time_waves
from layert2v_model.network.positions import STREAM_POSITIONS, JointRotaryPosEmbed
from layert2v_model.network.text import TextStates, distinct_texts
from layert2v_model.network.window import FrameWindow
from layert2v_model.streams import PROMPT_VISIBILITIES


class TokenFrames(nn.Module):
    """The frame of each token of a stream. It is a module, so that it is split as tokens are."""

    def forward(self, num_frames: int, tokens_per_frame: int, device: torch.device) -> Tensor:
        """Return numbers from 0, (L,)."""
        return torch.arange(num_frames, device=device).repeat_interleave(tokens_per_frame)


class LayerT2VTransformer3DModel(WanTransformer3DModel):
    """Velocity of all streams of a shot at once.

    A timestep may differ per stream and latent frame, so that given streams can sit at 0. With
    one foreground the parameters and the result are those of the released model.
    """

    _no_split_modules: ClassVar[list[str]] = ["LayerT2VTransformerBlock"]
    _repeated_blocks: ClassVar[list[str]] = ["LayerT2VTransformerBlock"]
    _skip_layerwise_casting_patterns: ClassVar[list[str]] = [
        *WanTransformer3DModel._skip_layerwise_casting_patterns,
        "layer_adaln",
    ]
    _keep_in_fp32_modules: ClassVar[list[str]] = [
        *WanTransformer3DModel._keep_in_fp32_modules,
        "time_proj",
        "layer_adaln",
    ]
    # Tokens are split inside every stream: the stock plan would cut across streams.
    _cp_plan: ClassVar[dict[str, Any]] = {
        "rope": {
            0: ContextParallelInput(split_dim=2, expected_dims=5, split_output=True),
            1: ContextParallelInput(split_dim=2, expected_dims=5, split_output=True),
        },
        "token_frames": {0: ContextParallelInput(split_dim=0, expected_dims=1, split_output=True)},
        "blocks.0": {
            "hidden_states": ContextParallelInput(split_dim=2, expected_dims=4, split_output=False),
        },
        "proj_out": ContextParallelOutput(gather_dim=2, expected_dims=4),
    }

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, ...] = (1, 2, 2),
        num_attention_heads: int = 12,
        attention_head_dim: int = 128,
        in_channels: int = 16,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 8960,
        num_layers: int = 30,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
        prompt_visibility: str = "released",
        stream_positions: str = "released",
        max_foregrounds: int = 6,
        foreground_fill: str = "black",
        per_stream_timesteps: bool = False,
        cross_stream_window: int | None = None,
        prediction_type: str = "velocity",
    ) -> None:
        """Build the network. Names shared with Wan mean what they mean there.

        Args:
            patch_size: Latent frames, rows and columns in one token.
            num_attention_heads: Heads of every attention.
            attention_head_dim: Width of a head. D is heads times this.
            in_channels: Channels of the latents.
            out_channels: Channels of the velocity.
            text_dim: Width of the text encoder's token states.
            freq_dim: Width of the sinusoidal time embedding.
            ffn_dim: Inner width of the feed-forward.
            num_layers: Number of blocks (the library's word).
            cross_attn_norm: Whether blocks normalise before cross-attention.
            qk_norm: Normalisation of queries and keys.
            eps: Epsilon of the norms.
            image_dim: Must be None: there is no image condition.
            added_kv_proj_dim: Must be None, as above.
            rope_max_seq_len: Positions per axis. S * T must not exceed it.
            pos_embed_seq_len: Must be None, as above.
            prompt_visibility: `released` or `isolated`, see `streams.visible_prompts`.
            stream_positions: `released` or `shared`, see `positions.STREAM_POSITIONS`.
            max_foregrounds: Most foregrounds of a shot.
            foreground_fill: Filling of foreground streams beyond their matte: `black`
                (premultiplied, as released) or `bleed` (straight colour, extended).
            per_stream_timesteps: Whether it was trained with a timestep per stream and frame.
            cross_stream_window: None, as released: every stream attends to every instant of all.
                Or, from 0: it attends to all of itself and, in the other streams, to the frames of
                tokens at most that far from its own instant. May be changed when loading.
            prediction_type: Output of the head: `velocity`, as released, or `preconditioned`, a
                mixture that tends to the picture where t is near 1 and to the noise near 0, from
                which `forward` makes the velocity (see `velocity_of_preconditioned`).

        Raises:
            ValueError: A setting has a value that is not supported.
        """
        _check_settings(
            prompt_visibility=(prompt_visibility, PROMPT_VISIBILITIES),
            stream_positions=(stream_positions, STREAM_POSITIONS),
            foreground_fill=(foreground_fill, ("black", "bleed")),
            prediction_type=(prediction_type, ("velocity", "preconditioned")),
        )
        if cross_stream_window is not None and cross_stream_window < 0:
            raise ValueError(
                f"cross_stream_window is {cross_stream_window}, supported: None, 0, 1, 2, ..."
            )
        if image_dim is not None or added_kv_proj_dim is not None:
            raise ValueError("image conditions are not supported; leave image_dim out")
        super().__init__(
            patch_size=patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=0,
            cross_attn_norm=cross_attn_norm,
            qk_norm=qk_norm,
            eps=eps,
            rope_max_seq_len=rope_max_seq_len,
        )
        self.register_to_config(num_layers=num_layers)
        dim = num_attention_heads * attention_head_dim
        self.rope = JointRotaryPosEmbed(
            attention_head_dim, patch_size, rope_max_seq_len, stream_positions
        )
        self.token_frames = TokenFrames()
        self.layer_adaln = LayerAdaLN(dim, max_foregrounds)
        self.blocks = nn.ModuleList(
            LayerT2VTransformerBlock(
                dim, ffn_dim, num_attention_heads, qk_norm, cross_attn_norm, eps
            )
            for _ in range(num_layers)
        )

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor | TextStates,
        encoder_attention_mask: Tensor | None = None,
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,
        held: HeldStreams | None = None,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Predict the velocity of every stream.

        Args:
            hidden_states: Noisy latents (B, S, C, T, H, W), normalised as the VAE's config says.
                They are float32 even if the network is not, so that a preconditioned velocity is
                not rounded.
            timestep: In [0, 1000], 0 for given streams: (B,), (B, S, 1) or (B, S, F) with one for
                each frame of tokens.
            encoder_hidden_states: Text states of each stream (B, S, N, text_dim), or what
                `read_text` made of them, which spares reading them in every step.
            encoder_attention_mask: None, or a boolean (B, S, N), true on real text tokens; not
                used after `read_text`, which has it.
            return_dict: Whether to wrap the result as the library does.
            attention_kwargs: Only `scale`, for LoRA.
            held: Remembers streams that are not computed in every step, or supplies what it
                remembers; not within a window. It needs text that `read_text` has read.

        Returns:
            Velocity noise - picture, (B, S, C, T, H, W), as `sample` or in a tuple; 0 for streams
            that are not computed.

        Raises:
            InvalidShot: The number of streams or the size does not fit the model.
        """
        grid = [
            n // p for n, p in zip(hidden_states.shape[3:], self.config.patch_size, strict=True)
        ]
        rotary = self.rope(hidden_states)
        time_BSFD, modulation_BSF6D = self._modulation(timestep, hidden_states.shape[1])
        text, mask_BSN = encoder_hidden_states, encoder_attention_mask
        joint_BSCTHW, computed = hidden_states, None if held is None else held.computed
        if computed is not None:
            assert isinstance(text, TextStates)
            assert timestep.ndim == 3
            text, rotary = text.of(computed), tuple(table[:, computed] for table in rotary)
            hidden_states, timestep, time_BSFD, modulation_BSF6D = (
                x[:, computed] for x in (hidden_states, timestep, time_BSFD, modulation_BSF6D)
            )
        if isinstance(text, TextStates):
            mask_BSN = text.mask_BSN
        else:
            text = self.condition_embedder.text_embedder(text)
        window, frame_L = self._window(grid[0]), self._frames_if_split(modulation_BSF6D, grid)
        # Only the copy for reading is rounded, because a preconditioned velocity needs the latents.
        tokens_BSLD = self._patchify(hidden_states.to(_dtype_of(self.patch_embedding)))
        for index, block in enumerate(self.blocks):
            read = text.for_block(index) if isinstance(text, TextStates) else text
            memory = None if held is None else held.blocks[index]
            arguments = (read, modulation_BSF6D, rotary, mask_BSN, window, memory, frame_L)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                tokens_BSLD = self._gradient_checkpointing_func(block, tokens_BSLD, *arguments)
            else:
                tokens_BSLD = block(tokens_BSLD, *arguments)
        velocity_BSCTHW = self._unpatchify(self._head(tokens_BSLD, time_BSFD, frame_L), grid)
        if self.config.prediction_type == "preconditioned":
            t_BSF = (timestep[:, None, None] if timestep.ndim == 1 else timestep) / 1000
            t_BSF = t_BSF.repeat_interleave(hidden_states.shape[3] // t_BSF.shape[2], dim=2)
            velocity_BSCTHW = velocity_of_preconditioned(velocity_BSCTHW, hidden_states, t_BSF)
        if computed is not None:
            made_BSCTHW = velocity_BSCTHW
            velocity_BSCTHW = torch.zeros_like(joint_BSCTHW, dtype=made_BSCTHW.dtype)
            velocity_BSCTHW[:, computed] = made_BSCTHW
        if not return_dict:
            return (velocity_BSCTHW,)
        return Transformer2DModelOutput(sample=velocity_BSCTHW)

    @apply_forward_hook
    @apply_lora_scale("attention_kwargs")
    def read_text(
        self,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None = None,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> TextStates:
        """Run the text MLP and every block's cross-attention keys and values once for a job.

        Each distinct text is read once, whichever streams see it. For inference: the result
        belongs to these weights and this LoRA scale, and gradients through it end with one step.

        Args:
            encoder_hidden_states: Text states of each stream (B, S, N, text_dim).
            encoder_attention_mask: None, or a boolean (B, S, N), true on real text tokens.
            attention_kwargs: Only `scale`, for LoRA; the same as in `forward`.
        """
        texts_UND, row_BS = distinct_texts(encoder_hidden_states, encoder_attention_mask)
        read_UND = self.condition_embedder.text_embedder(texts_UND)
        # Offloaded by groups, a block's weights are at hand only inside its own forward.
        blocks = () if _is_group_offload_enabled(self) else self.blocks
        key_values = tuple(text_key_value(block.attn2, read_UND) for block in blocks)
        return TextStates(read_UND, row_BS, encoder_attention_mask, key_values)

    def _window(self, num_frames: int) -> FrameWindow | None:
        """Return None where the window would hold every frame: then full attention is the same."""
        reach = self.config.cross_stream_window
        return None if reach is None or reach >= num_frames - 1 else FrameWindow(num_frames, reach)

    def _frames_if_split(self, modulation_BSF6D: Tensor, grid: list[int]) -> Tensor | None:
        """Number the frames of this device's tokens where they are not whole and not alike."""
        if self._parallel_config is None or modulation_BSF6D.shape[2] == 1:
            return None
        frames: Tensor = self.token_frames(grid[0], grid[1] * grid[2], modulation_BSF6D.device)
        return frames

    def _modulation(self, timestep: Tensor, num_streams: int) -> tuple[Tensor, Tensor]:
        """Embed time in float32: (B, S or 1, F, D), and with the layer rows (B, S, F, 6, D)."""
        timestep_BSF = timestep[:, None, None] if timestep.ndim == 1 else timestep
        embedder = self.condition_embedder
        with torch.autocast(timestep.device.type, enabled=False):
            waves = time_waves(timestep_BSF.flatten(), self.config.freq_dim)
            time_MD = embedder.time_embedder(waves.to(_dtype_of(embedder.time_embedder)))
            projected = embedder.time_proj(
                embedder.act_fn(time_MD).to(_dtype_of(embedder.time_proj))
            )
        time_BSFD = time_MD.float().unflatten(0, timestep_BSF.shape)
        time_BSF6D = projected.float().unflatten(0, timestep_BSF.shape).unflatten(-1, (6, -1))
        return time_BSFD, time_BSF6D + self.layer_adaln(num_streams)[None, :, None]

    def _patchify(self, latents_BSCTHW: Tensor) -> Tensor:
        batch_size = latents_BSCTHW.shape[0]
        patches = self.patch_embedding(rearrange(latents_BSCTHW, "b s c t h w -> (b s) c t h w"))
        return rearrange(patches, "(b s) d t h w -> b s (t h w) d", b=batch_size).contiguous()

    def _head(self, tokens_BSLD: Tensor, time_BSFD: Tensor, frame_L: Tensor | None) -> Tensor:
        shift, scale = (self.scale_shift_table.float() + time_BSFD[..., None, :]).unbind(dim=-2)
        return self.proj_out(modulated(self.norm_out, tokens_BSLD, shift, scale, frame_L))

    def _unpatchify(self, patches_BSLP: Tensor, grid: list[int]) -> Tensor:
        t, h, w = grid
        p, q, r = self.config.patch_size
        return rearrange(
            patches_BSLP,
            "b s (t h w) (p q r c) -> b s c (t p) (h q) (w r)",
            t=t, h=h, w=w, p=p, q=q, r=r,
        )  # fmt: skip


def velocity_of_preconditioned(head_BSCTHW: Tensor, noisy_BSCTHW: Tensor, t_BST: Tensor) -> Tensor:
    """Turn a preconditioned head's output F into the velocity noise - x0, in float32.

    x_t = (1 - t) x0 + t noise, latents of unit variance. The head learns F = (t x0 - (1 - t) noise)
    / sqrt(D), D = (1 - t)^2 + t^2, which has unit variance at every t. Near t = 1, where a shot is
    composed, that is the picture alone. A small network whose tokens hold nearly as many numbers as
    it is wide then need not carry the noise through all blocks to its output.

    Args:
        head_BSCTHW: F.
        noisy_BSCTHW: x_t.
        t_BST: Noise levels in [0, 1], per stream and latent frame.

    Source:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022,
        equation 7 and table 1 with sigma_data = 1, carried over to rectified flow: the denoised
        picture is c_skip x_t + c_out F with c_skip = (1 - t) / D and c_out = t / sqrt(D), and the
        velocity (x_t - picture) / t, in which t cancels.
    """
    t = t_BST.float()[:, :, None, :, None, None]
    density = (1 - t) ** 2 + t**2
    return ((2 * t - 1) * noisy_BSCTHW.float() - density.sqrt() * head_BSCTHW.float()) / density


def _dtype_of(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _check_settings(**settings: tuple[object, tuple[object, ...]]) -> None:
    for name, (value, values) in settings.items():
        if value not in values:
            raise ValueError(f"{name} is {value!r}, supported: {', '.join(map(repr, values))}")
