from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from layert2v_training.data.problems import BadClip
from layert2v_training.engine.cuts import camera_motion, name_of, read_camera_shots
from support import toy_clips
from support.media_files import scene, write_movie


def test_a_jump_of_colours_begins_a_new_shot(tmp_path: Path) -> None:
    frames = np.concatenate([toy_clips.flat((200, 30, 30)), toy_clips.flat((20, 40, 180))])
    movie = toy_clips.write_movie(tmp_path / "cut.mp4", frames)

    shots = list(read_camera_shots(movie, Fraction(24), 24, 100))

    assert [len(shot.frames_THWC) for shot in shots] == [6, 6]
    assert [shot.name for shot in shots] == [f"{name_of(movie)}-000", f"{name_of(movie)}-001"]


def test_movies_of_one_stem_have_names_of_their_own_that_do_not_change(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "clip.mp4", tmp_path / "b" / "clip.mp4", tmp_path / "a" / "clip.mov"]

    names = [name_of(path) for path in paths]

    assert len(set(names)) == 3
    assert all(name.startswith("clip-") for name in names)
    assert name_of(tmp_path / "b" / ".." / "a" / "clip.mp4") == names[0]


def test_frames_are_taken_at_the_chosen_rate_and_height(tmp_path: Path) -> None:
    movie = toy_clips.write_movie(tmp_path / "long.mp4", toy_clips.flat((9, 9, 9), 24))

    (shot,) = read_camera_shots(movie, Fraction(8), 12, 100)

    assert shot.frames_THWC.shape == (8, 12, 16, 3)
    assert shot.fps == 8


def test_a_movie_slower_than_the_chosen_rate_keeps_its_own(tmp_path: Path) -> None:
    movie = toy_clips.write_movie(tmp_path / "slow.mp4", toy_clips.flat((9, 9, 9), 10), fps=5)

    (shot,) = read_camera_shots(movie, Fraction(8), 12, 100)

    assert len(shot.frames_THWC) == 10
    assert shot.fps == 5


def test_a_long_shot_is_cut_where_memory_ends(tmp_path: Path) -> None:
    movie = toy_clips.write_movie(tmp_path / "long.mp4", toy_clips.flat((9, 9, 9), 7))

    shots = read_camera_shots(movie, Fraction(24), 24, 3)

    assert [len(shot.frames_THWC) for shot in shots] == [3, 3, 1]


def test_a_damaged_movie_is_a_bad_clip(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 300)

    with pytest.raises(BadClip, match=r"broken\.mp4: cannot be read as a movie"):
        list(read_camera_shots(tmp_path / "broken.mp4", Fraction(24), 24, 3))


def test_a_movie_with_damaged_frames_is_no_row_of_short_shots(tmp_path: Path) -> None:
    movie = toy_clips.write_damaged_movie(tmp_path / "flipped.mp4")

    with pytest.raises(BadClip, match=r"flipped\.mp4: is damaged in frame \d+"):
        list(read_camera_shots(movie, Fraction(24), 24, 100))


def test_a_panning_camera_moves_and_a_still_one_does_not() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (12, 24, 3), np.uint8)
    wide = np.kron(noise, np.ones((4, 4, 1), np.uint8))
    pan = np.stack([wide[:, t : t + 64] for t in range(0, 12, 2)])

    assert camera_motion(pan) == pytest.approx(2, abs=0.3)
    assert camera_motion(np.stack([pan[0]] * 6)) < 0.1


def test_frames_of_a_variable_rate_are_those_nearest_to_each_instant(tmp_path: Path) -> None:
    stamps = [*range(0, 241, 20), *range(340, 1341, 100)]
    frames = np.stack([np.full((32, 48, 3), stamp / 6, np.uint8) for stamp in stamps])
    movie = write_movie(tmp_path / "phone.mp4", frames, stamps=stamps)

    shots = list(read_camera_shots(movie, Fraction(8), 32, 100))
    shown = np.concatenate([shot.frames_THWC[:, 0, 0, 0] for shot in shots]).astype(int) * 6

    wanted = [0, 120, 240, 340, 540, 640, 740, 840, 1040, 1140, 1240]
    np.testing.assert_allclose(shown, wanted, atol=12)


def test_a_turned_movie_is_upright(tmp_path: Path) -> None:
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    movie = write_movie(tmp_path / "phone.mp4", np.rot90(scene(), 1, (1, 2)), matrix=matrix)

    (shot,) = read_camera_shots(movie, Fraction(24), 32, 100)

    assert np.abs(shot.frames_THWC.astype(int) - scene()).max() < 3
