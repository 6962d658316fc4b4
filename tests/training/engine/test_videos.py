from pathlib import Path

import pytest

from layert2v_training.engine.videos import find_videos, reason_against
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


def test_what_systems_leave_beside_movies_is_no_movie(tmp_path: Path, movie: Path) -> None:
    for name in ("._one.mp4", "@eaDir/one.mp4", "__MACOSX/._one.mp4", ".hidden/two.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")

    assert find_videos([tmp_path]) == [movie]


def test_movies_behind_links_are_found_once(tmp_path: Path, movie: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "all").symlink_to(tmp_path)

    assert [path.resolve() for path in find_videos([tmp_path / "in"])] == [movie]


def test_a_text_beside_a_movie_that_cannot_be_read_is_said(movie: Path) -> None:
    movie.with_suffix(".txt").write_bytes("background: caf\xe9".encode("cp1252"))

    reason = reason_against(movie)

    assert reason is not None
    assert "has one.txt beside it, which is not UTF-8" in reason
