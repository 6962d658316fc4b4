import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from layert2v_training.data.clips import flatten
from layert2v_training.data.problems import BadClip, BadClips
from layert2v_training.data.sources import clips_from
from support import toy_clips

SIZE = (16, 12)


def test_a_vidlayer_folder_gives_full_times_matte_as_its_foreground(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "a")

    clip = clips_from(tmp_path, (32, 24), 6).clip(0)

    layer = clip.foregrounds[0]
    np.testing.assert_allclose(layer.rgb_THWC[0, 12, 8], np.array([200, 30, 30]) / 255, atol=0.03)
    assert layer.alpha_THW[0, 12, 8] > 0.97
    assert layer.alpha_THW[0, 2, 2] < 0.03
    assert (layer.caption, clip.background_caption) == ("a square", "blue")
    assert clip.full_caption == "a red square over blue"


@pytest.mark.parametrize("fill", [(120, 255, 155), (0, 0, 0)])
def test_a_vidlayer_foreground_clip_is_read_and_its_fill_taken_out(
    tmp_path: Path, fill: tuple[int, int, int]
) -> None:
    alpha = toy_clips.square_matte()[..., None] / 255 * 0.5
    folder = toy_clips.write_vidlayer(tmp_path / "a", matte=(alpha[..., 0] * 255).astype(np.uint8))
    drawn = alpha * toy_clips.flat((40, 60, 240)) + (1 - alpha) * toy_clips.flat(fill)
    toy_clips.write_movie(folder / "foreground.mp4", drawn.astype(np.uint8))

    layer = clips_from(tmp_path, (32, 24), 6).clip(0).foregrounds[0]

    np.testing.assert_allclose(layer.rgb_THWC[0, 12, 8] * 255, (40, 60, 240), atol=16)
    assert layer.alpha_THW[0, 12, 8] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("key", ["fg_path", "fgr_video_path"])
def test_a_published_line_may_name_a_foreground_clip(tmp_path: Path, key: str) -> None:
    folder = toy_clips.write_vidlayer(tmp_path / "a")
    toy_clips.write_movie(folder / "own.mp4", toy_clips.flat((10, 200, 40)))
    paths = {"pha_video_path": "a/mask.mp4", "bg_path": "a/background.mp4", key: "a/own.mp4"}
    line = {"vid": "a/full_video.mp4", "entry": paths, "foreground_prompt": "f"}
    line["background_prompt"] = "b"
    (tmp_path / "list.jsonl").write_text(json.dumps(line))

    layer = clips_from(tmp_path / "list.jsonl", (32, 24), 6).clip(0).foregrounds[0]

    np.testing.assert_allclose(layer.rgb_THWC[0, 12, 8] * 255, (10, 200, 40), atol=6)


def test_a_vidlayer_foreground_clip_that_is_named_must_be_there(tmp_path: Path) -> None:
    folder = toy_clips.write_vidlayer(tmp_path / "a")
    text = json.loads((folder / "metadata.json").read_text())
    text["paths"] = {"foreground_video": "own.mp4"}
    (folder / "metadata.json").write_text(json.dumps(text))

    with pytest.raises(BadClips, match=r"own\.mp4: is missing"):
        clips_from(tmp_path, SIZE, 6)


def test_published_jsonl_lines_are_read_relative_to_their_file(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "a")
    line = {
        "vid": "a/full_video.mp4",
        "entry": {"pha_video_path": "a/mask.mp4", "bg_path": "a/background.mp4"},
        "overall_description": "all", "foreground_prompt": "fg", "background_prompt": "bg",
    }  # fmt: skip
    (tmp_path / "list.jsonl").write_text(json.dumps(line) + "\n")

    clip = clips_from(tmp_path / "list.jsonl", SIZE, 4).clip(0)

    assert clip.full_THWC.shape == (4, 12, 16, 3)
    assert (clip.full_caption, clip.foregrounds[0].caption) == ("all", "fg")


def test_layered_exr_becomes_straight_srgb_and_flattens_to_the_full_video(tmp_path: Path) -> None:
    toy_clips.write_renders(tmp_path / "shot")

    clip = clips_from(tmp_path, (32, 24), 6).clip(0)

    layer = clip.foregrounds[0]
    assert layer.alpha_THW[0, 12, 8] == pytest.approx(0.5, abs=1e-3)
    np.testing.assert_allclose(layer.rgb_THWC[0, 12, 8], 1, atol=1e-3)
    np.testing.assert_allclose(clip.background_THWC, 0.5, atol=1e-3)
    np.testing.assert_array_equal(clip.full_THWC, flatten(clip.background_THWC, clip.foregrounds))


@pytest.mark.parametrize(("codec", "suffix"), [("prores_ks", ".mov"), ("ffv1", ".mkv")])
def test_movies_with_alpha_are_layers_of_their_own(tmp_path: Path, codec: str, suffix: str) -> None:
    matte = toy_clips.square_matte()
    rgba = np.concatenate([toy_clips.flat((10, 200, 40)), matte[..., None]], -1)
    toy_clips.write_movie(tmp_path / f"leaf{suffix}", rgba, codec)
    toy_clips.write_movie(tmp_path / "background.mp4", toy_clips.flat((90, 90, 90)))
    (tmp_path / "clip.yaml").write_text("background: grey\nleaf: {caption: a leaf}\n")

    layer = clips_from(tmp_path, (32, 24), 6).clip(0).foregrounds[0]

    np.testing.assert_allclose(layer.alpha_THW, matte / 255, atol=0.01)
    np.testing.assert_allclose(layer.rgb_THWC[0, 12, 8] * 255, (10, 200, 40), atol=4)


def test_png_folders_stack_in_the_order_of_the_text(tmp_path: Path) -> None:
    matte = toy_clips.square_matte()[..., None]
    for name, colour in (("near", (255, 0, 0)), ("far", (0, 255, 0))):
        rgba = np.concatenate([toy_clips.flat(colour), matte], -1)
        toy_clips.write_pngs(tmp_path / name, rgba)
    toy_clips.write_pngs(tmp_path / "background", toy_clips.flat((0, 0, 0)))
    (tmp_path / "clip.txt").write_text("background: black\nfar: green\nnear: red\n")

    clip = clips_from(tmp_path, (32, 24), 6).clip(0)

    assert [layer.caption for layer in clip.foregrounds] == ["green", "red"]
    np.testing.assert_allclose(clip.full_THWC[0, 12, 8], (1, 0, 0), atol=1e-6)


def test_a_rate_chooses_the_nearest_frames(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8), 3).reshape(24, 1, 1, 3)
    frames = np.broadcast_to(ramp, (24, 24, 32, 3)).copy()
    toy_clips.write_pngs(tmp_path / "background", frames)
    toy_clips.write_pngs(tmp_path / "spot", np.concatenate([frames, frames[..., :1]], -1))
    (tmp_path / "clip.yaml").write_text("fps: 24\nbackground: a\nspot: b\n")

    clip = clips_from(tmp_path, SIZE, 8, fps=Fraction(8)).clip(0)

    steps = np.diff(clip.background_THWC[:, 0, 0, 0] * 255)
    np.testing.assert_allclose(steps, 30, atol=0.01)


def _ramp(step: int, num_frames: int) -> toy_clips.Codes:
    return np.concatenate([toy_clips.flat((step * t,) * 3, 1) for t in range(num_frames)])


def test_pictures_without_a_rate_are_taken_a_frame_a_frame_and_said_to_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = _ramp(10, 8)
    toy_clips.write_pngs(tmp_path / "background", frames)
    toy_clips.write_pngs(tmp_path / "spot", np.concatenate([frames, frames[..., :1]], -1))
    (tmp_path / "clip.txt").write_text("background: a\nspot: b\n")

    clip = clips_from(tmp_path, SIZE, 8, fps=Fraction(8)).clip(0)

    steps = np.diff(clip.background_THWC[:, 0, 0, 0] * 255)
    np.testing.assert_allclose(steps, 10, atol=0.01)
    assert "do not say their frame rate. They are used frame by frame" in caplog.text
    assert "add a line such as `fps: 24`" in caplog.text


def test_clips_of_several_rates_are_refused_by_name_unless_one_is_chosen(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "a", fps=24)
    toy_clips.write_vidlayer(tmp_path / "b", fps=12)

    with pytest.raises(BadClips, match=r"12 \(b\), 24 \(a\); choose one"):
        clips_from(tmp_path, SIZE, 2, skip_bad=True)

    source = clips_from(tmp_path, SIZE, 2, fps=Fraction(12))
    assert len(source.clips) == 2
    assert source.key != clips_from(tmp_path, SIZE, 2, fps=Fraction(6)).key


def test_a_clip_too_short_at_the_chosen_rate_is_refused_with_both_rates(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "a", fps=24)

    with pytest.raises(BadClips, match="6 frames at 24 fps, 7 are needed for 3 at 8 fps; use"):
        clips_from(tmp_path, SIZE, 3, fps=Fraction(8))


@pytest.mark.parametrize("is_movie", [True, False])
def test_a_rate_above_the_footage_shows_its_frames_several_times(
    tmp_path: Path, is_movie: bool
) -> None:
    frames = _ramp(60, 4)
    rgba = np.concatenate([frames, toy_clips.square_matte(4)[..., None]], -1)
    if is_movie:
        toy_clips.write_movie(tmp_path / "background.mkv", frames, "ffv1", fps=8)
        toy_clips.write_movie(tmp_path / "spot.mkv", rgba, "ffv1", fps=8)
    else:
        toy_clips.write_pngs(tmp_path / "background", frames)
        toy_clips.write_pngs(tmp_path / "spot", rgba)
    (tmp_path / "clip.yaml").write_text("fps: 8\nbackground: a\nspot: b\n")

    clip = clips_from(tmp_path, (32, 24), 9, fps=Fraction(24)).clip(0)

    shown = clip.background_THWC[:, 0, 0, 0] * 255
    np.testing.assert_allclose(np.diff(shown), [0, 60, 0, 0, 60, 0, 0, 60], atol=0.01)
    assert clip.foregrounds[0].alpha_THW.shape == (9, 24, 32)


def test_a_clip_depends_on_seed_and_index_only(tmp_path: Path) -> None:
    toy_clips.write_renders(tmp_path / "shot")
    source = clips_from(tmp_path, SIZE, 2, seed=3)
    source.clip(5)

    again = clips_from(tmp_path, SIZE, 2, seed=3)

    starts = [again.clip(index).full_THWC for index in range(6)]
    np.testing.assert_array_equal(source.clip(4).full_THWC, starts[4])
    assert any(not np.array_equal(starts[0], other) for other in starts[1:])


def test_the_key_notices_a_changed_file_and_a_changed_caption(tmp_path: Path) -> None:
    folder = toy_clips.write_renders(tmp_path / "shot")
    key = clips_from(tmp_path, SIZE, 2).key

    assert clips_from(tmp_path, SIZE, 2).key == key
    os.utime(folder / "render.0003.exr", (1, 1))
    touched = clips_from(tmp_path, SIZE, 2).key
    (folder / "clip.txt").write_text("background: red\nghost: a ghost\n")

    assert len({key, touched, clips_from(tmp_path, SIZE, 2).key}) == 3


def test_bad_clips_are_all_named_or_left_out_as_chosen(tmp_path: Path) -> None:
    toy_clips.write_renders(tmp_path / "good")
    (tmp_path / "empty").mkdir()
    toy_clips.write_renders(tmp_path / "mute", "background: blue\nghost:\n")

    with pytest.raises(BadClips, match="empty") as caught:
        clips_from(tmp_path, SIZE, 2)
    source = clips_from(tmp_path, SIZE, 2, skip_bad=True)

    assert {bad.path.name for bad in caught.value.bad} == {"empty", "mute"}
    assert len(source.clips) == 1


def test_a_clip_found_bad_while_reading_gives_way_to_the_next(tmp_path: Path) -> None:
    toy_clips.write_renders(tmp_path / "good")
    broken = toy_clips.write_renders(tmp_path / "broken")
    (broken / "render.0005.exr").write_bytes(b"not a picture")

    source = clips_from(tmp_path, SIZE, 6, skip_bad=True)

    np.testing.assert_array_equal(source.clip(0).full_THWC, source.clip(1).full_THWC)


def test_a_clip_found_bad_while_reading_is_refused_with_its_file_and_what_to_do(
    tmp_path: Path,
) -> None:
    folder = toy_clips.write_renders(tmp_path / "broken")
    (folder / "render.0005.exr").write_bytes(b"not a picture")

    source = clips_from(tmp_path, SIZE, 6)

    with pytest.raises(BadClip, match=r"render\.0005\.exr: .*; `layert2v-data check` decodes all"):
        source.clip(0)


def test_footage_covers_the_format_and_loses_only_its_margin(tmp_path: Path) -> None:
    toy_clips.write_renders(tmp_path / "shot")

    clip = clips_from(tmp_path, (12, 12), 1).clip(0)

    alpha = clip.foregrounds[0].alpha_THW[0]
    assert alpha.shape == (12, 12)
    assert alpha.sum() == pytest.approx(0.5 * 64 / 4, abs=1)


def test_a_source_that_is_missing_is_said_without_counting_bad_clips(tmp_path: Path) -> None:
    with pytest.raises(BadClip) as refused:
        clips_from(tmp_path / "nowhere", (32, 16), 5)

    assert str(refused.value) == (
        f"{tmp_path / 'nowhere'}: is missing; name a folder of clips or a .jsonl file"
    )
