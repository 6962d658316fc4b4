"""Clips whose files say something about themselves, through check and training."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from layert2v_training.data.checking import CheckedClip, check_source
from layert2v_training.data.finding import find_clips
from layert2v_training.data.sources import ClipFormat, clips_from
from layert2v_training.data_cli import app
from support import toy_clips
from support.media_files import scene, write_movie

TEXT = "background: a field\nball: a red ball\n"
TURNED = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


def _ball(num_frames: int = 4, height: int = 32, width: int = 48) -> np.ndarray:
    """A soft disc over red, straight."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)
    alpha = np.clip((height / 3 - distance) / 6, 0, 1)[..., None] * 255
    frame = np.concatenate([np.broadcast_to((210.0, 60.0, 40.0), (height, width, 3)), alpha], -1)
    return np.repeat(frame[None].astype(np.uint8), num_frames, 0)


def _clip(folder: Path, text: str = TEXT) -> Path:
    """Write a clip of pictures; a test puts another layer in their place."""
    toy_clips.write_pngs(folder / "background", scene())
    toy_clips.write_pngs(folder / "ball", _ball())
    (folder / "clip.txt").write_text(text)
    return folder


def _replace(folder: Path, name: str) -> Path:
    for path in (folder / name).iterdir():
        path.unlink()
    (folder / name).rmdir()
    return folder


def _checked(folder: Path) -> CheckedClip:
    (item,) = check_source(folder, ClipFormat(48, 32, 2))
    return item


def test_a_turned_layer_is_upright_in_check_and_training(tmp_path: Path) -> None:
    folder = _replace(_clip(tmp_path / "c"), "background")
    stored = np.rot90(scene(), 1, (1, 2))
    write_movie(folder / "background.mp4", stored, matrix=TURNED)

    assert _checked(folder).problem is None
    clip = clips_from(folder, (48, 32), 4).clip(0)
    assert np.abs(clip.background_THWC * 255 - scene()).max() < 3


@pytest.mark.parametrize("name", ["ball.MOV", "Ball.mov", "BALL.Mov"])
def test_a_layer_is_found_in_any_case(tmp_path: Path, name: str) -> None:
    folder = _replace(_clip(tmp_path / "c"), "ball")
    write_movie(folder / name, _ball(), "png", "rgba") if name.endswith(".mov") else write_movie(
        folder / "x.mov", _ball(), "png", "rgba"
    ).replace(folder / name)

    assert _checked(folder).problem is None


def test_alpha_of_vp9_is_the_alpha_of_a_layer(tmp_path: Path) -> None:
    folder = _replace(_clip(tmp_path / "c"), "ball")
    write_movie(folder / "ball.webm", _ball(), "libvpx-vp9", "yuva420p",
                options={"lossless": "1"}, metadata={"alpha_mode": "1"})  # fmt: skip

    clip = clips_from(folder, (48, 32), 4).clip(0)

    alpha = clip.foregrounds[0].alpha_THW
    assert np.abs(alpha * 255 - _ball()[..., 3]).max() < 2


def test_premultiplied_colours_are_noted_and_divided_when_said(tmp_path: Path) -> None:
    folder = _replace(_clip(tmp_path / "c"), "ball")
    multiplied = _ball().astype(np.float64)
    multiplied[..., :3] *= multiplied[..., 3:] / 255
    write_movie(folder / "ball.mov", multiplied.round().astype(np.uint8), "prores_ks",
                "yuva444p10le")  # fmt: skip
    result = CliRunner().invoke(app, ["check", str(folder)])
    assert result.exit_code == 0
    assert "ball.mov has no colour above its alpha" in result.stdout

    (folder / "clip.txt").unlink()
    said = "background: a field\nball: {caption: a ball, premultiplied: true}\n"
    (folder / "clip.yaml").write_text(said)

    assert "no colour above" not in CliRunner().invoke(app, ["check", str(folder)]).stdout
    layer = clips_from(folder, (48, 32), 4).clip(0).foregrounds[0]
    is_soft = (layer.alpha_THW > 0.3) & (layer.alpha_THW < 0.9)
    assert np.abs(layer.rgb_THWC[is_soft] * 255 - (210, 60, 40)).max() < 10


def test_straight_colours_are_not_noted(tmp_path: Path) -> None:
    assert _checked(_clip(tmp_path / "c")).notes == ()


VARIABLE = (0, 20, 40, 60, 400, 700, 1000, 1300)


def _variable(folder: Path) -> Path:
    """Write a clip whose background's rate varies; each frame is as bright as its time."""
    frames = np.stack([np.full((32, 48, 3), stamp / 6, np.uint8) for stamp in VARIABLE])
    write_movie(folder / "background.mkv", frames, stamps=VARIABLE)
    toy_clips.write_pngs(folder / "ball", _ball(len(VARIABLE)))
    (folder / "clip.txt").write_text(TEXT)
    return folder


def test_a_layer_of_variable_rate_is_good_and_resampled_by_its_times(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    folder = _variable(tmp_path / "c")

    assert _checked(folder).problem is None
    source = clips_from(folder, (48, 32), 5, fps=Fraction(4))
    taken = [(source.clip(k).background_THWC[:, 0, 0, 0] * 255 * 6).round(-1) for k in range(8)]
    # From 60 ms on at 250 ms: the nearest of the times to 60, 310, 560, 810 and 1060.
    assert [60, 400, 700, 700, 1000] in [shown.tolist() for shown in taken]


def test_a_clip_of_variable_rate_is_too_short_by_its_time(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    folder = _variable(tmp_path / "c")

    (item,) = check_source(folder, ClipFormat(48, 32, 8, Fraction(4)))

    assert item.problem is not None
    assert "is too short: 8 frames at 5.3846 fps on average" in item.problem.reason


def test_layers_with_other_times_are_refused_with_both(tmp_path: Path) -> None:
    folder = _replace(_variable_pair(tmp_path / "c"), "ball")
    write_movie(folder / "ball.mov", _ball(len(VARIABLE)), "png", "rgba", fps=6)

    problem = _checked(folder).problem

    assert problem is not None
    assert "shows frame 1 at 0.167 s, but background.mkv at 0.020 s" in problem.reason


def _variable_pair(folder: Path) -> Path:
    folder.mkdir()
    return _variable(folder)


def test_junk_beside_clips_and_pictures_is_left_alone(tmp_path: Path) -> None:
    folder = _clip(tmp_path / "c")
    for place in (tmp_path, folder, folder / "ball"):
        for name in ("._frame_0001.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
            (place / name).write_bytes(b"\0\5\x16\7")
        for name in ("@eaDir", "__MACOSX"):
            (place / name).mkdir()
            (place / name / "frame_0001.png").write_bytes(b"x")

    (item,) = check_source(tmp_path)

    assert item.problem is None


def test_a_layer_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    folder = _clip(tmp_path / "c")
    write_movie(folder / "Ball.mov", _ball(), "png", "rgba")

    assert "holds Ball.mov and ball: keep one of them" in str(_checked(folder).problem)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("clip.txt", "background: a\nball: b\nball: c\n", "ball is given twice"),
        ("clip.yaml", "background: a\nball: b\nball: c\n", "ball is given twice"),
        ("clip.json", '{"background": "a", "ball": "b", "ball": "c"}', "ball is given twice"),
        ("clip.txt", "a red ball over a field\n", "names no layer in its line 1"),
        ("clip.txt", TEXT.encode("utf-16"), "is UTF-16 (Notepad calls it Unicode)"),
        ("clip.txt", "background: caf\xe9\nball: b".encode("cp1252"), "seems to be Windows-1252"),
        ("clip.json", "[" * 100_000, "is nested too deeply"),
        ("clip.yaml", "background: a: b\nball: c\n", "are not allowed here in line 1; correct it"),
        (
            "clip.yaml",
            "background: [" + "long words " * 20 + "]\nball: b\n",
            "long words ...: a text",
        ),
    ],
)
def test_a_text_that_says_things_twice_or_otherwise_is_named(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    folder = _clip(tmp_path / "c")
    (folder / "clip.txt").unlink()
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    (problem,) = find_clips(tmp_path)[1]

    assert problem.path == folder / name
    assert said in problem.reason


@pytest.mark.parametrize("name", ["CLIP.TXT", "Clip.Txt"])
def test_a_text_is_found_in_any_case_and_with_a_mark(tmp_path: Path, name: str) -> None:
    folder = _clip(tmp_path / "c")
    (folder / "clip.txt").unlink()
    (folder / name).write_text(TEXT, "utf-8-sig")

    assert _checked(folder).problem is None
    (folder / "clip.yaml").write_text(TEXT)
    assert "keep one of them" in str(find_clips(folder)[1][0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps([{"clip": "c"}]), "is one JSON array"),
        (json.dumps([{"clip": "c"}] * 2, indent=1), "is one JSON array"),
        ('{"file_name": "full.mp4", "text": "a ball"}', "is a line of Hugging Face's form"),
        ('{"clip": "c", "clip": "d"}', "clip is given twice"),
        ('{"clip": "c"}'.encode("utf-16"), "is UTF-16"),
        ('{"clip": "caf\xe9"}'.encode("cp1252"), "seems to be Windows-1252"),
    ],
)
def test_lists_of_other_makes_are_named_for_what_they_are(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = tmp_path / "clips.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)

    (problem,) = find_clips(path)[1]

    assert said in problem.reason


def test_a_file_that_a_text_names_is_found_in_another_case(tmp_path: Path) -> None:
    folder = _replace(_clip(tmp_path / "c"), "ball")
    (folder / "clip.txt").unlink()
    write_movie(folder / "x.mov", _ball(), "png", "rgba").replace(folder / "Red.MOV")
    (folder / "clip.yaml").write_text("background: a\nball: {caption: b, file: red.mov}\n")

    assert _checked(folder).problem is None


def test_a_line_of_hugging_face_may_name_a_folder_of_layers(tmp_path: Path) -> None:
    _clip(tmp_path / "c")
    line = {"file_name": "c", "text": "a red ball over a field"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line))

    clips, bad = find_clips(tmp_path / "metadata.jsonl")

    assert bad == []
    assert [clip.full_caption for clip in clips] == ["a red ball over a field"]


@pytest.mark.parametrize("fps", ["0", "-24", "1e999999999", "nan", ".inf", "1001", "24/0", "fast"])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, fps: str) -> None:
    folder = _clip(tmp_path / "c", f"{TEXT}fps: {fps}\n")

    assert "a positive number or fraction up to 1000 is needed" in str(find_clips(folder)[1][0])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ball.gif", "; ball.gif is of a kind that is not read"),
        ("Ball.MTS", "; Ball.MTS is of a kind that is not read"),
        ("ball.png", "; ball.png is one picture, where a folder of them is needed"),
    ],
)
def test_a_file_of_another_kind_is_named_where_a_layer_is_missing(
    tmp_path: Path, name: str, said: str
) -> None:
    folder = _replace(_clip(tmp_path / "c"), "ball")
    (folder / name).write_bytes(b"x")

    assert str(find_clips(folder)[1][0]).endswith(said)


def test_aliases_that_stand_for_a_billion_values_are_not_written_out(tmp_path: Path) -> None:
    folder = _clip(tmp_path / "c")
    (folder / "clip.txt").unlink()
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
    (folder / "clip.yaml").write_text("\n".join([*rows, "background: a", "ball: *a11"]))

    (problem,) = find_clips(folder)[1]

    assert len(problem.reason) < 3000
    assert "a text is needed" in problem.reason
