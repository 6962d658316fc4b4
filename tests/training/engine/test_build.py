import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from layert2v_training.data.checking import check_source
from layert2v_training.data.clip_footage import Footage, probe
from layert2v_training.data.clips import Pixels
from layert2v_training.data.problems import BadClips
from layert2v_training.data_cli import app
from layert2v_training.engine import build
from layert2v_training.engine.cuts import Codes
from layert2v_training.engine.moving_subjects import Rectangle
from layert2v_training.engine.recipe import EngineRecipe, Matter
from support import toy_clips
from support.waiting import HANG_S

RECIPE = EngineRecipe(height=48, num_frames=9, fps=Fraction(24), most_clips=2, cover=(0.001, 0.6))


class RednessMatter:
    """Cuts out what is red; counts how often it is asked."""

    asked = 0

    def mattes(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> Pixels:
        RednessMatter.asked += 1
        return (frames_THWC[..., 0].astype(int) > frames_THWC[..., 1] + 60).astype(np.float32)


def write_street(folder: Path, fps: int = 24) -> Path:
    noise = np.random.default_rng(1).integers(60, 120, (48, 64, 1), np.uint8)
    frames = np.repeat(np.repeat(noise, 3, -1)[None], 18, 0)
    for t in range(18):
        frames[t, 18:34, 2 + 3 * t : 12 + 3 * t] = (220, 40, 40)
    folder.mkdir(parents=True)
    (folder / "street.txt").write_text("background: a street\nsubject: a red box\n")
    return toy_clips.write_movie(folder / "street.mp4", frames, fps=fps)


@pytest.fixture
def matter(monkeypatch: pytest.MonkeyPatch) -> type[RednessMatter]:
    monkeypatch.setattr(build, "check_tools", lambda recipe: None)
    monkeypatch.setattr(build, "load_matter", lambda recipe: RednessMatter())
    return RednessMatter


@pytest.mark.slow
def test_a_build_goes_on_where_it_stopped(tmp_path: Path, matter: type[RednessMatter]) -> None:
    write_street(tmp_path / "in")
    (tmp_path / "in" / "broken.mp4").write_bytes(b"\0" * 300)

    def build_again(recipe: EngineRecipe) -> build.BuildResult:
        return build.build_clips([tmp_path / "in"], tmp_path / "out", recipe, skip_bad=True)

    result = build_again(RECIPE)
    asked = matter.asked
    again = build_again(RECIPE)

    page = (tmp_path / "out" / "report.html").read_text()
    assert (result.num_accepted, result.num_rejected) == (2, 1)
    assert result.reasons == {"bad movie": 1}
    assert again == result
    assert matter.asked == asked > 0
    assert "cannot be read as a movie" in page
    assert "a red box moving to the right" in page
    assert all(item.problem is None for item in check_source(tmp_path / "out" / "clips.jsonl"))


@pytest.mark.slow
@pytest.mark.usefixtures("matter")
def test_movies_of_one_stem_share_no_clip(tmp_path: Path) -> None:
    videos = [write_street(tmp_path / "a"), write_street(tmp_path / "b")]

    result = build.build_clips(videos, tmp_path / "out", replace(RECIPE, most_similar=None))

    lines = (tmp_path / "out" / "clips.jsonl").read_text().splitlines()
    assert result.num_accepted == len(set(lines)) == 4
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 4


class WaitsForAnother(RednessMatter):
    """Begins only when a second shot is worked on at the same time."""

    both = threading.Barrier(2, timeout=HANG_S)

    def __init__(self) -> None:
        self.both.wait()


@pytest.mark.slow
def test_shots_of_different_movies_are_worked_on_at_once(
    tmp_path: Path, matter: type[RednessMatter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "load_matter", lambda recipe: WaitsForAnother())
    monkeypatch.setattr(
        build, "ProcessPoolExecutor", lambda processes, mp_context: ThreadPoolExecutor(processes)
    )
    videos = [write_street(tmp_path / name) for name in "abcd"]

    result = build.build_clips(videos, tmp_path / "out", replace(RECIPE, most_similar=None), 2)

    assert result.num_accepted == 8


@pytest.mark.slow
@pytest.mark.usefixtures("matter")
def test_a_slow_movie_gives_clips_at_its_own_rate(tmp_path: Path) -> None:
    street = write_street(tmp_path / "in", fps=5)

    build.build_clips([street], tmp_path / "out", RECIPE)

    (clip,) = (tmp_path / "out" / "clips").glob("*-00")
    assert probe(Footage(clip / "full.mkv")).fps == 5


@pytest.mark.slow
@pytest.mark.usefixtures("matter")
def test_a_second_movie_of_the_same_names_repeats_unless_repeats_are_kept(tmp_path: Path) -> None:
    videos = [write_street(tmp_path / "a"), write_street(tmp_path / "b")]

    judged = build.build_clips(videos, tmp_path / "out", RECIPE)
    in_clips = len(list((tmp_path / "out" / "clips").iterdir()))
    kept = build.build_clips(videos, tmp_path / "out", replace(RECIPE, most_similar=None))

    assert in_clips == 2
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 4
    assert (judged.num_accepted, judged.num_rejected) == (2, 2)
    assert (kept.num_accepted, kept.num_rejected) == (4, 0)
    assert "all repeats are kept, as asked" in kept.report.read_text()


@pytest.mark.slow
def test_clips_of_another_recipe_or_taken_away_are_made_again(
    tmp_path: Path, matter: type[RednessMatter]
) -> None:
    street, out = write_street(tmp_path / "in"), tmp_path / "out"
    build.build_clips([street], out, RECIPE)
    build.build_clips([street], out, replace(RECIPE, height=32, most_clips=1))

    build.build_clips([street], out, RECIPE)
    clips = sorted((out / "clips").iterdir())
    shutil.rmtree(clips[0])
    build.build_clips([street], out, RECIPE)

    assert sorted((out / "clips").iterdir()) == clips
    assert [probe(Footage(clip / "full.mkv")).height for clip in clips] == [48, 48]


def listed(out: Path) -> list[str]:
    """Clips that `clips.jsonl` names, in its order."""
    lines = (out / "clips.jsonl").read_text().splitlines()
    return [Path(json.loads(line)["clip"]).name for line in lines]


@pytest.mark.slow
@pytest.mark.usefixtures("matter")
def test_a_second_call_keeps_the_clips_of_the_first(tmp_path: Path) -> None:
    one, other = write_street(tmp_path / "z"), write_street(tmp_path / "a")
    out, recipe = tmp_path / "out", replace(RECIPE, most_similar=None)
    build.build_clips([one], out, recipe)
    first = listed(out)

    result = build.build_clips([other], out, recipe)
    both, page = listed(out), result.report.read_text()
    build.build_clips([one], out, replace(recipe, height=32, most_clips=1))

    assert len(first) == 2
    assert both[:2] == first
    assert result.num_accepted == len(both) == 4
    assert all(name in page for name in both)
    assert listed(out) == [first[0], *both[2:]]


@pytest.mark.slow
@pytest.mark.usefixtures("matter")
def test_what_a_later_call_repeats_stays_the_repeat_whichever_call_comes_last(
    tmp_path: Path,
) -> None:
    one, other = write_street(tmp_path / "z"), write_street(tmp_path / "a")
    out = tmp_path / "out"
    build.build_clips([one], out, RECIPE)
    first = listed(out)

    build.build_clips([other], out, RECIPE)
    after_other = listed(out)
    build.build_clips([one], out, RECIPE)

    assert first == after_other == listed(out)


@pytest.mark.slow
@pytest.mark.usefixtures("matter")
def test_a_clip_of_an_earlier_call_that_was_taken_away_is_not_listed(tmp_path: Path) -> None:
    one, other = write_street(tmp_path / "z"), write_street(tmp_path / "a")
    out, recipe = tmp_path / "out", replace(RECIPE, most_similar=None)
    build.build_clips([one], out, recipe)
    taken, kept = listed(out)
    shutil.rmtree(out / "clips" / taken)

    build.build_clips([other], out, recipe)

    assert kept in listed(out)
    assert taken not in listed(out)


@pytest.mark.slow
@pytest.mark.usefixtures("matter")
def test_new_names_beside_a_movie_make_its_captions_anew(tmp_path: Path) -> None:
    street = write_street(tmp_path / "in")
    build.build_clips([street], tmp_path / "out", RECIPE)
    (tmp_path / "in" / "street.txt").write_text("subject: a crimson crate\n")

    again = build.build_clips([street], tmp_path / "out", RECIPE)

    assert "a crimson crate moving to the right" in again.report.read_text()


def test_an_adapter_without_weights_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    arguments = ["build", str(tmp_path), "--out", str(tmp_path / "out"), "--mattes", "sam2"]

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert "sam2 needs its weights" in result.output


def test_bad_movies_are_all_named_before_any_work(
    tmp_path: Path, matter: type[RednessMatter]
) -> None:
    write_street(tmp_path / "in")
    (tmp_path / "in" / "broken.mp4").write_bytes(b"\0" * 300)
    toy_clips.write_damaged_movie(tmp_path / "in" / "flipped.mp4")
    asked = matter.asked

    with pytest.raises(BadClips) as refusal:
        build.build_clips([tmp_path / "in"], tmp_path / "out", RECIPE)

    assert [bad.path.name for bad in refusal.value.bad] == ["broken.mp4", "flipped.mp4"]
    assert matter.asked == asked
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("matter")
def test_where_all_movies_are_bad_there_is_nothing_to_skip_to(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 300)

    with pytest.raises(BadClips, match=r"broken\.mp4"):
        build.build_clips([tmp_path], tmp_path / "out", RECIPE, skip_bad=True)


@pytest.mark.parametrize("weights", ["/models/sam2", "sam2=", "sam=/models/sam2"])
def test_weights_that_name_no_adapter_are_refused(tmp_path: Path, weights: str) -> None:
    arguments = ["build", str(tmp_path), "--out", str(tmp_path / "out"), "--weights", weights]

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert "NAME=FOLDER" in result.output


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> list[EngineRecipe]:
    """Keeps what the command asks for, and builds nothing."""
    asked: list[EngineRecipe] = []

    def keep(videos: object, out: Path, recipe: EngineRecipe, *_: object, **__: object) -> object:
        asked.append(recipe)
        return build.BuildResult(1, 0, out / "report.html", {})

    monkeypatch.setattr(build, "build_clips", keep)
    return asked


def test_limits_are_set_by_file_and_by_name_and_options_win_over_files(
    tmp_path: Path, recipes: list[EngineRecipe]
) -> None:
    text = "height: 96\nfps: 30000/1001\ncover: [0.01, 0.5]\nmost_camera: 2\n"
    (tmp_path / "limits.yaml").write_text(text)
    changes = ["--recipe-file", str(tmp_path / "limits.yaml"), "--set", "most_layers=3",
               "--height", "144", "--mattes", "sam2", "--weights", "sam2=/models/sam2",
               "--keep-repeats"]  # fmt: skip

    result = CliRunner().invoke(app, ["build", "in", "--out", "out", *changes])

    assert result.exit_code == 0, result.output
    assert recipes == [EngineRecipe(
        height=144, fps=Fraction(30000, 1001), cover=(0.01, 0.5), most_camera=2, most_layers=3,
        mattes=Matter.SAM2, weights=(("sam2", "/models/sam2"),), most_similar=None,
    )]  # fmt: skip


@pytest.mark.parametrize(("change", "answer"), [
    ("most_layer=3", "did you mean most_layers?"),
    ("most_layers=0", "most_layers is 0; give 1 or more"),
    ("cover=[0.6, 0.1]", "give two ascending shares"),
    ("most_frames=8", "fewer than the 33 of a clip"),
    ("fps=-1", "give a positive rate"),
])  # fmt: skip
def test_a_change_that_no_recipe_takes_is_refused(
    recipes: list[EngineRecipe], change: str, answer: str
) -> None:
    result = CliRunner().invoke(app, ["build", "in", "--out", "out", "--set", change])

    assert result.exit_code == 2
    assert answer in result.output
    assert recipes == []
