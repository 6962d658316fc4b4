import json
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from layert2v_training.data.checking import check_source
from layert2v_training.data.sources import ClipFormat
from support import toy_clips


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _render_with(folder: Path, channel: int, value: float) -> None:
    layers = toy_clips.linear_layers()
    layers["ghost"][2, 5, 5, channel] = value
    toy_clips.write_layered_exrs(folder, layers)
    (folder / "clip.txt").write_text("background: blue\nghost: a ghost\n")


def _truncated_movie(folder: Path) -> None:
    _truncate(toy_clips.write_vidlayer(folder) / "background.mp4")


def _corrupt_movie(folder: Path) -> None:
    (toy_clips.write_vidlayer(folder) / "mask.mp4").write_bytes(b"\0" * 400)


def _other_matte(folder: Path) -> None:
    toy_clips.write_vidlayer(folder, matte=toy_clips.square_matte(height=32))


def _short_matte(folder: Path) -> None:
    toy_clips.write_vidlayer(folder, matte=toy_clips.square_matte(num_frames=4))


def _no_captions(folder: Path) -> None:
    (toy_clips.write_vidlayer(folder) / "metadata.json").write_text("{}")


def _empty(folder: Path) -> None:
    folder.mkdir()


def _mixed_rates(folder: Path) -> None:
    toy_clips.write_vidlayer(folder)
    toy_clips.write_movie(folder / "background.mp4", toy_clips.flat((0, 0, 9)), fps=30)


def _truncated_exr(folder: Path) -> None:
    _truncate(toy_clips.write_renders(folder) / "render.0004.exr")


def _nan(folder: Path) -> None:
    _render_with(folder, 0, np.nan)


def _wild_alpha(folder: Path) -> None:
    _render_with(folder, 3, 1.5)


def _gap(folder: Path) -> None:
    (toy_clips.write_renders(folder) / "render.0002.exr").unlink()


def _unknown_layer(folder: Path) -> None:
    toy_clips.write_renders(folder, "background: blue\ndog: a dog\n")


def _no_alpha(folder: Path) -> None:
    toy_clips.write_pngs(folder / "background", toy_clips.flat((1, 2, 3)))
    toy_clips.write_pngs(folder / "dog", toy_clips.flat((1, 2, 3)))
    (folder / "clip.txt").write_text("background: blue\ndog: a dog\n")


def _truncated_png(folder: Path) -> None:
    matte = toy_clips.square_matte()[..., None]
    toy_clips.write_pngs(folder / "background", toy_clips.flat((1, 2, 3)))
    dog = np.concatenate([toy_clips.flat((9, 9, 9)), matte], -1)
    _truncate(toy_clips.write_pngs(folder / "dog", dog) / "frame_0003.png")
    (folder / "clip.txt").write_text("background: blue\ndog: a dog\n")


def _matte_alone(folder: Path) -> None:
    toy_clips.write_pngs(folder / "background", toy_clips.flat((1, 2, 3)))
    toy_clips.write_pngs(folder / "matte", toy_clips.flat((9, 9, 9)))
    (folder / "clip.yaml").write_text("background: blue\ndog: {caption: a dog, matte: matte}\n")


@pytest.mark.parametrize(("break_clip", "file", "reason"), [
    (_truncated_movie, "background.mp4", "cannot be read|cut short|damaged"),
    (_corrupt_movie, "mask.mp4", "cannot be read"),
    (_other_matte, "mask.mp4", "height is 32, but 24"),
    (_short_matte, "mask.mp4", "num_frames is 4, but 6"),
    (_no_captions, "bad", "no foreground caption"),
    (_empty, "bad", "is empty"),
    (_mixed_rates, "bad", "several frame rates: 24 and 30"),
    (_truncated_exr, "render.0004.exr", "damaged or cut short"),
    (_nan, "render.0002.exr", "NaN"),
    (_wild_alpha, "render.0002.exr", "has alpha from 0 to 1.5"),
    (_gap, "bad", "nothing between render.0001.exr and render.0003.exr: frame 2 is missing"),
    (_unknown_layer, "render.0000.exr", "layer dog is not one"),
    (_no_alpha, "dog", "has no alpha"),
    (_matte_alone, "bad", "matte without colour"),
    (_truncated_png, "frame_0003.png", "cut short"),
])  # fmt: skip
def test_a_bad_clip_is_named_by_file_with_its_reason(
    tmp_path: Path, break_clip: Callable[[Path], None], file: str, reason: str
) -> None:
    toy_clips.write_vidlayer(tmp_path / "good")
    break_clip(tmp_path / "bad")

    checked = {item.path.name: item.problem for item in check_source(tmp_path)}

    assert checked["good"] is None
    problem = checked["bad"]
    assert problem is not None
    assert problem.path.name == file
    with pytest.raises(type(problem), match=reason):
        raise problem


def test_a_movie_is_decoded_once_however_long_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matte = toy_clips.square_matte(40, height=8, width=128)
    for name in ("full_video", "background", "mask"):
        movie = tmp_path / "a" / f"{name}.mp4"
        movie.parent.mkdir(exist_ok=True)
        toy_clips.write_movie(movie, np.repeat(matte[..., None], 3, -1))
    captions = {"foreground": "a", "background": "b"}
    (tmp_path / "a" / "metadata.json").write_text(json.dumps({"captions": captions}))
    opened = Counter[str]()
    real_open = av.open

    def counting_open(path: str, *arguments: Any, **options: Any) -> Any:
        opened[Path(path).name] += 1
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(av, "open", counting_open)
    (item,) = check_source(tmp_path)

    assert item.problem is None
    # Packets are counted, then frames decoded; a matte's place is looked up between them.
    assert opened == {"full_video.mp4": 2, "background.mp4": 2, "mask.mp4": 3}


def test_clips_of_several_rates_need_a_chosen_one(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "a", fps=24)
    toy_clips.write_vidlayer(tmp_path / "b", fps=30)

    mixed = [item.problem for item in check_source(tmp_path) if item.problem]
    chosen = [item.problem for item in check_source(tmp_path, fps=Fraction(12)) if item.problem]

    assert len(mixed) == 1
    assert "mixed frame rates" in str(mixed[0])
    assert chosen == []


def test_a_clip_too_short_for_the_recipe_is_bad(tmp_path: Path) -> None:
    toy_clips.write_vidlayer(tmp_path / "a")

    (item,) = check_source(tmp_path, ClipFormat(16, 12, 9))

    assert "6 frames, 9 are needed" in str(item.problem)


def test_a_missing_source_is_bad(tmp_path: Path) -> None:
    (item,) = check_source(tmp_path / "nowhere")

    assert "is missing" in str(item.problem)
