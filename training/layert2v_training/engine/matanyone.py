"""MatAnyone of its own package: soft edges, followed through the shot from one first matte.

The package and its weights are under the S-Lab License 1.0, for non-commercial use. Neither comes
with this project.

Shape letters: T frames, C channels, H, W.
"""

import json
from pathlib import Path

import numpy as np
import torch
from matanyone import InferenceCore, MatAnyone
from omegaconf import OmegaConf
from torch import Tensor

from layert2v_training.data.clips import Pixels
from layert2v_training.engine.cuts import Codes
from layert2v_training.engine.moving_subjects import Rectangle, first_seen, unseen
from layert2v_training.engine.protocols import SubjectMatter

_WARM_UP = 10
"""Times that the first frame is looked at. Source: MatAnyone's inference script, its default."""
_SOLID = 0.5
"""Alpha of the first matte from which a pixel belongs to the subject."""


class MatAnyoneMatter:
    """Follows the matte that another gives of the first frame in which the subject is seen."""

    def __init__(self, weights: Path, first: SubjectMatter) -> None:
        """Load the network from a folder as published on the hub; `first` gives the first matte."""
        self._first = first
        settings = json.loads((weights / "config.json").read_text())["cfg"]
        # Else the package fetches a ResNet from the net, which the weights then replace.
        settings["model"]["pretrained_resnet"] = False
        self._network = MatAnyone.from_pretrained(str(weights), cfg=OmegaConf.create(settings))

    @torch.inference_mode()
    def mattes(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> Pixels:
        """Give alpha (T, H, W) in [0, 1]."""
        alpha_THW = np.zeros(frames_THWC.shape[:3], np.float32)
        begin = first_seen(boxes)
        if begin is None:
            return alpha_THW
        first_HW = self._first.mattes(frames_THWC[begin : begin + 1], [boxes[begin]])[0]
        core = InferenceCore(self._network)
        mask = torch.from_numpy(255.0 * (first_HW > _SOLID)).float().to(core.device)
        core.step(_picture(frames_THWC[begin], core), mask, objects=[1])
        for t in (*[begin] * _WARM_UP, *range(begin, len(frames_THWC))):
            picture = _picture(frames_THWC[t], core)
            seen = core.step(picture, first_frame_pred=t == begin)
            alpha_THW[t] = core.output_prob_to_mask(seen).float().clamp(0, 1).cpu().numpy()
        alpha_THW[unseen(boxes)] = 0
        return alpha_THW


def _picture(frame_HWC: Codes, core: InferenceCore) -> Tensor:
    picture: Tensor = torch.from_numpy(frame_HWC).permute(2, 0, 1).float() / 255
    return picture.to(core.device)
