"""Captions by Qwen-VL, or any image-text model of transformers with a chat template."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from layert2v_training.engine.cuts import Codes
from layert2v_training.engine.moving_subjects import Rectangle
from layert2v_training.engine.redundancy import Telling

_BACKGROUND = "Describe this place in one short sentence. Name no people and no vehicles."
_SUBJECT = "These are frames of one video. In one short phrase: what is shown and how does it move?"
_NEW_TOKENS = 48
_PICTURES = 4


class QwenVlCaptioner:
    """Asks about pictures."""

    def __init__(self, weights: Path) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._processor = AutoProcessor.from_pretrained(weights, local_files_only=True)
        self._model = AutoModelForImageTextToText.from_pretrained(
            weights, local_files_only=True, dtype="auto"
        ).to(self._device)

    def background(self, plate_HWC: Codes) -> str:
        """Caption a clean plate."""
        return self._ask([plate_HWC], _BACKGROUND)

    def subject(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> str:
        """Caption close-ups of a subject, evenly spaced in time."""
        seen = [(frame, box) for frame, box in zip(frames_THWC, boxes, strict=True) if box]
        chosen = np.unique(np.linspace(0, len(seen) - 1, _PICTURES).astype(int))
        crops = [
            seen[k][0][box[1] : box[3], box[0] : box[2]] for k in chosen if (box := seen[k][1])
        ]
        return self._ask(crops, _SUBJECT)

    def telling(self, captions: Sequence[str]) -> Telling:
        """Give all it wrote."""
        return Telling(". ".join(captions))

    @torch.inference_mode()
    def _ask(self, pictures: list[Codes], question: str) -> str:
        content: list[dict[str, object]] = [
            {"type": "image", "image": Image.fromarray(np.ascontiguousarray(picture))}
            for picture in pictures
        ]
        content.append({"type": "text", "text": question})
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        ).to(self._device)  # fmt: skip
        said = self._model.generate(**inputs, max_new_tokens=_NEW_TOKENS, do_sample=False)
        answer = said[:, inputs["input_ids"].shape[1] :]
        return str(self._processor.batch_decode(answer, skip_special_tokens=True)[0]).strip()
