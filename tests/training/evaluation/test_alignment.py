from pathlib import Path

import numpy as np
import pytest

from layert2v_training.evaluation.alignment import Alignment, _examples, routing_of


def test_a_layer_is_routed_if_its_own_prompt_scores_best() -> None:
    scores = np.array([[0.9, 0.1], [0.5, 0.2]])

    assert routing_of(scores) == {
        "alignment": pytest.approx(0.55),
        "alignment_routing": 0.5,
        "alignment_margin": pytest.approx((0.8 - 0.3) / 2),
    }


@pytest.mark.slow
def test_pictures_it_was_fitted_on_score_their_own_caption_best(assets: Path) -> None:
    alignment = Alignment(assets)
    pictures, captions = _examples(assets)
    chosen = [0, 40, 90, 160]

    scores = alignment.scores([pictures[i] for i in chosen], [captions[i] for i in chosen])

    assert (scores.argmax(axis=1) == np.arange(len(chosen))).sum() >= 3
