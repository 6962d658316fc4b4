from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from layert2v_training.evaluation.metrics import alignment as evaluation_alignment
from layert2v_training.evaluation.metrics.alignment import Alignment, _examples, routing_of


def test_a_layer_is_routed_if_its_own_prompt_scores_best() -> None:
    scores = np.array([[0.9, 0.1], [0.5, 0.2]])

    assert routing_of(scores) == {
        "alignment": pytest.approx(0.55),
        "alignment_routing": 0.5,
        "alignment_margin": pytest.approx((0.8 - 0.3) / 2),
    }


@pytest.mark.slow
def test_pictures_it_was_fitted_on_score_their_own_caption_above_others(
    assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in (("SUBJECTS", 30), ("PHOTOGRAPHS", 4), ("PANORAMAS", 2)):
        named = getattr(evaluation_alignment, name)
        monkeypatch.setattr(evaluation_alignment, name, dict(islice(named.items(), count)))
    alignment = Alignment(assets)
    pictures, captions = (part[:60:3] for part in _examples(assets))

    scores = alignment.scores(pictures, captions)

    # Toy pictures are discs of plain colours: hardly told apart, but not by chance either.
    assert np.diag(scores).mean() > scores.mean() + 0.1
