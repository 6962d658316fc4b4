"""The release's way of computing a step, built on the library's unmodified model and blocks.

The project's notes on the public code describe it. The streams follow one another as one video.
LayerAdaLN's rows are repeated for every token and added to the time modulation. The three prompts
are joined and padded with zeros to 512 tokens before the text MLP. A dense float mask of 0 and -inf
says which token reads which prompt. Guidance is two passes, one after the other, and the negative
prompt stands three times under the same mask. Other causes of the release's slowness (host syncs,
float64 positions, weights cast in every pass) are left out.

Shape letters: B batch, S streams, L tokens of all streams, C channels, T, H, W of latents, N text
tokens, D width.
"""

from collections.abc import Sequence

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch import Tensor

from benchmarks.models import one_video, plain_twin
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.streams import visible_prompts

PADDED_TEXT = 512
"""Least number of text tokens. Source: the release pads joined prompts to it,
`layered_model.py:481-491`."""


class ReleasedApproach:
    """A step with guidance for one foreground, on the weights of ours."""

    def __init__(self, ours: LayerT2VTransformer3DModel, *, half_time: bool = False) -> None:
        self.plain = plain_twin(ours, half_time=half_time)
        self.rows_SND = ours.layer_adaln(4)
        self.visible = visible_prompts("released", 1)

    def guided(
        self,
        latents_BSCTHW: Tensor,
        timestep_B: Tensor,
        prompts: Sequence[Tensor],
        negative_ND: Tensor,
        guidance_scale: float,
    ) -> Tensor:
        """Predict the guided velocity (1, S, C, T, H, W) from full, background, foreground."""
        video = one_video(latents_BSCTHW)
        wanted = self._velocity(video, timestep_B, prompts)
        unwanted = self._velocity(video, timestep_B, [negative_ND] * 3)
        velocity = unwanted + guidance_scale * (wanted - unwanted)
        return torch.stack(velocity.chunk(4, dim=2), dim=1)

    def _velocity(self, video: Tensor, timestep_B: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """Run the library's forward pass with modulation per token and a mask for the text."""
        plain, embedder = self.plain, self.plain.condition_embedder
        rotary = plain.rope(video)
        tokens = plain.patch_embedding(video).flatten(2).transpose(1, 2).contiguous()
        joined = torch.cat(list(prompts))
        padded = torch.nn.functional.pad(joined, (0, 0, 0, max(0, PADDED_TEXT - len(joined))))[None]
        time, projected, text, _ = embedder(timestep_B, padded, None)
        table_LND = self.rows_SND.repeat_interleave(tokens.shape[1] // 4, dim=0)
        modulation = projected.unflatten(1, (1, 6, -1)) + table_LND
        reading = _Masked(self._mask(tokens.shape[1], prompts, padded.shape[1]).to(tokens))
        for block in plain.blocks:
            block.attn2.set_processor(reading)
            tokens = block(tokens, text, modulation, rotary)
        return _unpatchified(plain, tokens, time, video)

    def _mask(self, num_tokens: int, prompts: Sequence[Tensor], num_text: int) -> Tensor:
        """Return 0 where a token reads a text token and -inf elsewhere: (1, 1, L, N)."""
        names = ("full", "background", "foreground_1")
        owner = [name for name, prompt in zip(names, prompts, strict=True) for _ in prompt]
        mask_SN = torch.full((4, num_text), float("-inf"))
        for stream, visible in enumerate(self.visible):
            for position, name in enumerate(owner):
                if name in visible:
                    mask_SN[stream, position] = 0
        return mask_SN.repeat_interleave(num_tokens // 4, dim=0)[None, None]


class _Masked(WanAttnProcessor):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def __call__(
        self, attn: WanAttention, tokens: Tensor, text: Tensor, mask: None, rotary: None
    ) -> Tensor:
        return super().__call__(attn, tokens, text, self.mask, None)


def _unpatchified(
    plain: WanTransformer3DModel, tokens: Tensor, time: Tensor, video: Tensor
) -> Tensor:
    """Finish as the library's forward pass does."""
    shift, scale = (plain.scale_shift_table + time[:, None]).chunk(2, dim=1)
    patches = plain.proj_out((plain.norm_out(tokens.float()) * (1 + scale) + shift).type_as(tokens))
    p, q, r = plain.config.patch_size
    grid = (video.shape[2] // p, video.shape[3] // q, video.shape[4] // r)
    cells = patches.unflatten(1, grid).unflatten(-1, (p, q, r, -1))
    return cells.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
