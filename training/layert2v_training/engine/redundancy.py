"""Which clips say what another says already, by the cosine of their captions' MiniLM vectors."""

from collections.abc import Sequence

import torch

from layert2v_training.captions import CaptionStates
from layert2v_training.export import text_encoder_folder


def redundant(captions: Sequence[str], most_similar: float) -> dict[int, tuple[int, float]]:
    """Map each redundant caption to the earlier kept one it repeats, and their cosine.

    Captions are looked at in order: the first of its kind stays. A caption is redundant from
    `most_similar` on; 1 and above keeps all but exact repeats.
    """
    states = CaptionStates.read(text_encoder_folder())
    states.encode(captions)
    kept: list[int] = []
    repeats: dict[int, tuple[int, float]] = {}
    vectors = [torch.nn.functional.normalize(states[c].mean(0), dim=0) for c in captions]
    for index, vector in enumerate(vectors):
        cosines = [float(vectors[other] @ vector) for other in kept]
        nearest = max(range(len(kept)), key=cosines.__getitem__, default=None)
        if nearest is not None and cosines[nearest] >= most_similar - 1e-5:
            repeats[index] = kept[nearest], cosines[nearest]
        else:
            kept.append(index)
    return repeats
