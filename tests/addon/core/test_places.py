"""Where things go: channels, frames, folders."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blender_addon.core.channels import LAST_CHANNEL, NoFreeChannels, Span, first_free_channel
from blender_addon.core.paths import (
    check_apart,
    media_root,
    next_take_number,
    safe_path,
    shot_folder_name,
    slug,
    take_folder_name,
)
from blender_addon.core.timing import frames_shown, scene_fps, split_fps, take_fps
from layert2v_client import VersionMismatch

SPANS = st.lists(
    st.builds(
        lambda channel, start, length: Span(channel, start, start + length),
        st.integers(1, 20),
        st.integers(-50, 50),
        st.integers(1, 40),
    ),
    max_size=15,
)


@given(SPANS, st.integers(1, 6), st.sets(st.integers(1, 12)))
def test_allocated_channels_are_free_and_not_blocked(spans, count, blocked):
    first = first_free_channel(spans, 0, 10, count, blocked)

    for channel in range(first, first + count):
        assert channel not in blocked
        assert not any(
            s.channel == channel and s.frame_start < 10 and s.frame_end > 0 for s in spans
        )


def test_a_take_lies_above_what_is_there_and_ignores_other_times():
    spans = [Span(3, 0, 10), Span(9, 100, 110)]

    assert first_free_channel(spans, 5, 15, 2) == 4


def test_channels_below_are_used_when_nothing_is_left_above():
    assert first_free_channel([Span(LAST_CHANNEL - 1, 0, 10)], 0, 10, 4) == 1


def test_no_room_is_told_with_the_remedy():
    spans = [Span(channel, 0, 10) for channel in range(1, LAST_CHANNEL + 1, 3)]

    with pytest.raises(NoFreeChannels, match=r"3 adjacent free channels.*Move some strips"):
        first_free_channel(spans, 0, 10, 3)


def test_equal_rates_show_each_frame_once():
    assert frames_shown(4, Fraction(8), Fraction(8)) == [0, 1, 2, 3]
    assert frames_shown(3, take_fps(0.0), Fraction(24)) == [0, 1, 2]


def test_a_faster_scene_repeats_frames_and_a_slower_one_skips_some():
    assert frames_shown(2, Fraction(8), Fraction(24)) == [0, 0, 0, 1, 1, 1]
    assert frames_shown(4, Fraction(24), Fraction(12)) == [0, 2]


@given(
    st.integers(1, 200),
    st.fractions(1, 120, max_denominator=1001),
    st.fractions(1, 120, max_denominator=1001),
)
def test_a_strip_lasts_as_long_as_its_take(num_frames, fps, scene):
    shown = frames_shown(num_frames, fps, scene)

    assert shown == sorted(shown)
    assert shown[0] == 0
    assert 0 <= shown[-1] < num_frames
    assert abs(len(shown) / scene - num_frames / fps) <= 1 / scene


def test_rates_are_exact():
    assert scene_fps(24, 1.001) == Fraction(24000, 1001)
    assert split_fps(Fraction(24000, 1001)) == (24, pytest.approx(1.001))
    assert split_fps(take_fps(8.0)) == (8, 1.0)


def test_media_lie_beside_a_saved_file_and_in_the_users_folder_before():
    unsaved = Path("user")

    assert media_root("shots/a.blend", unsaved, "uid") == Path("shots/layert2v")
    assert media_root("", unsaved, "uid") == Path("user/uid")


@given(st.text())
def test_a_slug_is_a_file_name_everywhere(text):
    name = slug(text)

    assert name.isascii()
    assert 1 <= len(name) <= 32
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


def test_folders_are_named_for_people_and_numbered():
    assert shot_folder_name("Ein rötlicher Ball!", "0123456789") == "ein_rotlicher_ball_01234567"
    assert take_folder_name(3, "jobs/0f1e-22334455") == "take_0003_22334455"
    assert take_folder_name(3, "???") == "take_0003_job"


def test_take_numbers_go_on(tmp_path):
    assert next_take_number(tmp_path / "none") == 1
    for name in ("take_0002_a", "take_0010_b", "other", "x.part"):
        (tmp_path / name).mkdir()
    assert next_take_number(tmp_path) == 11


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../../x", "C:\\x", "a//b", "a.", ".x", "a b", "a" * 101, ""]
)
def test_a_path_that_leaves_the_folder_is_refused(path, tmp_path):
    with pytest.raises(VersionMismatch, match="cannot be written safely"):
        safe_path(tmp_path, path)


@pytest.mark.parametrize(
    "path", ["aux", "AUX", "nul.exr", "png/lpt1.png", "com1/x.png", "Con.tar.gz", "prn", "a ", "a."]
)
def test_a_name_that_windows_reserves_is_refused(path, tmp_path):
    with pytest.raises(VersionMismatch, match="cannot be written safely"):
        safe_path(tmp_path, path)


@pytest.mark.parametrize("path", ["auxiliary.png", "console/x.png", "com10.png", "null.png"])
def test_a_name_that_only_begins_like_a_device_is_joined(path, tmp_path):
    assert safe_path(tmp_path, path) == tmp_path.joinpath(*path.split("/"))


@pytest.mark.parametrize(
    "paths", [["a.png", "A.PNG"], ["a.png", "a.png"], ["full", "full/x.png"], ["B/x", "b/X"]]
)
def test_paths_that_would_overwrite_each_other_are_refused(paths):
    with pytest.raises(VersionMismatch, match="overwrite"):
        check_apart(paths)
    with pytest.raises(VersionMismatch, match="overwrite"):
        check_apart(reversed(paths))


def test_the_paths_of_a_take_are_apart():
    check_apart(["full/png/a_0001.png", "full/png/a_0002.png", "full/exr/a_0001.exr", "x.json"])


def test_an_ordinary_path_is_joined(tmp_path):
    joined = safe_path(tmp_path, "matte_1/png/matte_1_0001.png")

    assert joined == tmp_path / "matte_1" / "png" / "matte_1_0001.png"
