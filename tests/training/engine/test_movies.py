from pathlib import Path

import pytest

from layert2v_training.engine.movies import find_videos, reason_against
from support import toy_clips


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    return toy_clips.write_movie(tmp_path / "one.mp4", toy_clips.flat((9, 9, 9)))


def test_a_movie_given_twice_is_found_once(tmp_path: Path, movie: Path) -> None:
    assert find_videos([tmp_path, movie]) == [movie]


@pytest.mark.parametrize("name", ["missing.mp4", "notes.txt", "empty"])
def test_a_place_without_a_movie_is_refused_even_beside_one(
    tmp_path: Path, movie: Path, name: str
) -> None:
    (tmp_path / "notes.txt").write_text("no movie")
    (tmp_path / "empty").mkdir()

    with pytest.raises(FileNotFoundError, match=f"no movie in {tmp_path / name}; give"):
        find_videos([movie, tmp_path / name])


def test_a_whole_movie_is_not_refused(movie: Path) -> None:
    assert reason_against(movie) is None


def test_a_movie_cut_short_is_refused(tmp_path: Path) -> None:
    whole = toy_clips.write_movie(tmp_path / "whole.mkv", toy_clips.noise(24)).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])

    reason = reason_against(tmp_path / "cut.mkv")

    assert reason is not None
    assert "cut short" in reason


def test_a_movie_with_damaged_frames_is_refused(tmp_path: Path) -> None:
    reason = reason_against(toy_clips.write_damaged_movie(tmp_path / "flipped.mp4"))

    assert reason is not None
    assert "is damaged" in reason
