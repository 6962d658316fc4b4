from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layert2v_media.errors import UnreadableMedia
from layert2v_media.footage import Footage, probe, read
from layert2v_media.kinds import find_layer, pictures_in
from support.media_files import scene


def test_a_folder_holds_pictures_of_one_kind_in_any_case(tmp_path: Path) -> None:
    for name in ("a1.JPG", "a2.jpeg", "a3.jpg", "notes.txt", "Thumbs.db", "._a1.jpg"):
        (tmp_path / name).write_bytes(b"")

    assert [path.name for path in pictures_in(tmp_path)] == ["a1.JPG", "a2.jpeg", "a3.jpg"]
    (tmp_path / "a4.png").write_bytes(b"")
    with pytest.raises(UnreadableMedia, match=r"holds \.jpg and \.png"):
        pictures_in(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [([], "holds no images:"), (["a.HEIC"], r"holds no images but \.heic, which are not read")],
)
def test_a_folder_without_pictures_says_what_it_holds(
    tmp_path: Path, names: list[str], said: str
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")

    with pytest.raises(UnreadableMedia, match=said):
        pictures_in(tmp_path)


def test_a_layer_is_found_by_name_in_any_case_and_once(tmp_path: Path) -> None:
    (tmp_path / "Full.MOV").write_bytes(b"")
    (tmp_path / "._full.mov").write_bytes(b"")
    (tmp_path / "full.txt").write_bytes(b"")

    assert find_layer(tmp_path, "full") == tmp_path / "Full.MOV"
    assert find_layer(tmp_path, "background") is None
    (tmp_path / "full").mkdir()
    with pytest.raises(UnreadableMedia, match=r"holds Full\.MOV and full: keep one of them"):
        find_layer(tmp_path, "full")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    first=st.integers(-4, 2000), padding=st.integers(1, 5),
    before=st.sampled_from(["", "f_", "Shot2.", "a b "]), after=st.sampled_from(["", ".bg", "_x"]),
    suffix=st.sampled_from([".png", ".PNG", ".Tif", ".webp"]),
)  # fmt: skip
def test_any_numbering_and_case_give_the_same_frames(
    tmp_path_factory: pytest.TempPathFactory,
    first: int, padding: int, before: str, after: str, suffix: str,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("frames")
    for t, frame in enumerate(scene(6)):
        options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
        encoded = cv2.imencode(suffix.lower(), frame[..., ::-1], options)[1]
        (folder / f"{before}{first + t:0{padding}d}{after}{suffix}").write_bytes(encoded.tobytes())

    assert np.abs(read(Footage(folder)) * 255 - scene(6)).max() < 1e-3
    assert (probe(Footage(folder)).num_frames, probe(Footage(folder)).width) == (6, 48)
