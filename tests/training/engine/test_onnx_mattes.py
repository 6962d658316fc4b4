from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from layert2v_training.engine import onnx_mattes
from layert2v_training.engine.crops import CropMatter
from layert2v_training.engine.onnx_mattes import OnnxMatter, fetch_matte_model
from layert2v_training.scenes.assets import AssetsUnavailable


class StandInSession:
    """No network: gives the red channel back, undone from its mean and deviation, twice as bright.

    The package that could write a tiny ONNX file is not among the project's.
    """

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="picture")]

    def run(self, _: None, feed: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        self.fed = feed["picture"]
        return [2 * (self.fed[:, :1] * 0.229 + 0.485)]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> StandInSession:
    stand_in = StandInSession()
    monkeypatch.setattr(onnx_mattes, "fetch_matte_model", lambda name, folder: folder / name)
    monkeypatch.setattr(onnx_mattes, "_session", lambda path: stand_in)
    return stand_in


def test_a_picture_is_fed_normalised_and_its_matte_comes_back_at_its_size(
    tmp_path: Path, session: StandInSession
) -> None:
    picture = np.zeros((30, 50, 3), np.uint8)
    picture[:, :25, 0] = 255

    alpha_HW = OnnxMatter("u2netp", tmp_path).matte(picture)

    assert session.fed.shape == (1, 3, 320, 320)
    assert session.fed[0, 0, 0, 0] == pytest.approx((1 - 0.485) / 0.229, abs=1e-4)
    assert alpha_HW.shape == (30, 50)
    assert alpha_HW[:, :24].min() == 1
    assert alpha_HW[:, 26:].max() == pytest.approx(0, abs=1e-5)


@pytest.mark.usefixtures("session")
def test_only_what_is_near_a_box_is_looked_at(tmp_path: Path) -> None:
    frames = np.full((2, 40, 60, 3), 255, np.uint8)

    alpha_THW = CropMatter(OnnxMatter("u2netp", tmp_path)).mattes(frames, [None, (20, 10, 30, 20)])

    assert not alpha_THW[0].any()
    rows, columns = np.nonzero(alpha_THW[1])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 26, 13, 36)


def test_a_model_file_of_other_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "u2netp.onnx").write_bytes(b"no model")

    with pytest.raises(AssetsUnavailable, match="delete it"):
        fetch_matte_model("u2netp", tmp_path)
