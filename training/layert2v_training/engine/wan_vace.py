"""Wan2.1-VACE of diffusers, which paints the background behind subjects in every frame.

Shape letters: T frames, C channels, H, W. Codes are uint8 sRGB.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanVACEPipeline
from numpy.typing import NDArray
from PIL import Image

from layert2v_model.cost.precision import decide_precision
from layert2v_training.engine.cuts import Codes

_STEPS, _GUIDANCE = 30, 5.0
"""Source: the library's example of `WanVACEPipeline`."""
_NOT_WANTED = "people, animals, vehicles, shadows, blurred, low quality"
_MULTIPLE = 16
"""Pictures are painted at multiples of so many pixels: the VAE's 8 times tokens of 2."""
_MARGIN = 7
"""Pixels beyond what covers the plate that are painted too, so that contact shadows go."""
_SOFTNESS = 2.0
"""Standard deviation, in pixels, of the seam between what is painted and what was filmed."""
_GREY = 128
"""The grey that hides a subject from the network. Source: as above."""


class WanVacePlates:
    """Removes subjects. What is not covered stays as filmed, to the bit."""

    def __init__(self, weights: Path) -> None:
        """Load the pipeline from a folder of diffusers, in the precision of the hardware."""
        vae = AutoencoderKLWan.from_pretrained(weights / "vae", torch_dtype=torch.float32)
        self._pipeline = WanVACEPipeline.from_pretrained(
            weights, vae=vae, dtype=decide_precision().dtype, local_files_only=True
        )
        self._pipeline.set_progress_bar_config(disable=True)
        if torch.cuda.is_available():
            self._pipeline.enable_model_cpu_offload()

    def plates(self, frames_THWC: Codes, covered_THW: NDArray[np.bool_], words: str) -> Codes:
        """Paint what `covered_THW` hides.

        Args:
            frames_THWC: A clip.
            covered_THW: Pixels that subjects cover.
            words: Prompt of the plate.

        Returns:
            A plate per frame (T, H, W, 3).
        """
        reach = np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8)
        hidden = [cv2.dilate(covered.astype(np.uint8), reach) for covered in covered_THW]
        painted = self._painted(frames_THWC, hidden, words)
        height, width = frames_THWC.shape[1:3]
        plates = []
        for filmed, shown, mask in zip(frames_THWC, painted, hidden, strict=True):
            shown = cv2.resize(shown, (width, height), interpolation=cv2.INTER_CUBIC)
            soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _SOFTNESS)
            # The blur reaches both ways. Pixels of the subject itself are never let through.
            share = np.where(mask > 0, np.minimum(2 * soft, 1), 0)[..., None]
            plates.append(share * 255 * np.clip(shown, 0, 1) + (1 - share) * filmed)
        return np.asarray(np.round(plates), np.uint8)

    def _painted(
        self, frames_THWC: Codes, hidden: list[NDArray[np.uint8]], words: str
    ) -> NDArray[np.float32]:
        """Give the network's own frames (T, H, W, 3) in [0, 1], at its multiples."""
        num_frames, height, width = frames_THWC.shape[:3]
        size = (_multiple(width), _multiple(height))
        # The last frame stands still until there are 4 k + 1.
        times = [min(t, num_frames - 1) for t in range(-(-(num_frames - 1) // 4) * 4 + 1)]
        filmed = [np.where(hidden[t][..., None] > 0, _GREY, frames_THWC[t]) for t in times]
        video = [Image.fromarray(frame.astype(np.uint8)).resize(size) for frame in filmed]
        masks = [Image.fromarray(255 * hidden[t]).resize(size) for t in times]
        made = self._pipeline(
            prompt=words,
            negative_prompt=_NOT_WANTED,
            video=video,
            mask=masks,
            width=size[0],
            height=size[1],
            num_frames=len(times),
            num_inference_steps=_STEPS,
            guidance_scale=_GUIDANCE,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).frames[0]
        return np.asarray(made[:num_frames], np.float32)


def _multiple(side: int) -> int:
    return max(1, round(side / _MULTIPLE)) * _MULTIPLE
