"""SAM 2 and 3 of transformers: a box in the first frame, followed through the shot; hard edges."""

from pathlib import Path

import numpy as np
import torch
from transformers import (
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam3TrackerVideoModel,
    Sam3TrackerVideoProcessor,
)

from layert2v_training.data.clips import Pixels
from layert2v_training.engine.cuts import Codes
from layert2v_training.engine.moving_subjects import Rectangle, first_seen, unseen

_PARTS = {
    "sam2": (Sam2VideoModel, Sam2VideoProcessor),
    "sam3": (Sam3TrackerVideoModel, Sam3TrackerVideoProcessor),
}
"""Model and processor by version. SAM 3's tracker takes boxes as SAM 2 does."""


class SamMatter:
    """Follows a subject from the first frame it is seen in."""

    def __init__(self, weights: Path, version: str) -> None:
        """Load `sam2` or `sam3` from a folder of transformers."""
        model, processor = _PARTS[version]
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.from_pretrained(weights, local_files_only=True)
        self._model.to(self._device).eval()
        self._processor = processor.from_pretrained(weights, local_files_only=True)

    @torch.inference_mode()
    def mattes(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> Pixels:
        """Give alpha (T, H, W), 0 or 1."""
        alpha_THW = np.zeros(frames_THWC.shape[:3], np.float32)
        first = first_seen(boxes)
        if first is None:
            return alpha_THW
        session = self._processor.init_video_session(
            video=list(frames_THWC), inference_device=self._device
        )
        box = [float(value) for value in boxes[first] or ()]
        self._processor.add_inputs_to_inference_session(
            session, frame_idx=first, obj_ids=1, input_boxes=[[box]]
        )
        size = [list(frames_THWC.shape[1:3])]
        for output in self._model.propagate_in_video_iterator(session, start_frame_idx=first):
            (masks,) = self._processor.post_process_masks([output.pred_masks], size)
            alpha_THW[output.frame_idx] = masks[0, 0].float().cpu().numpy()
        alpha_THW[unseen(boxes)] = 0
        return alpha_THW
