import json
from pathlib import Path

import numpy as np
import pytest

from layert2v_training.data.checking import check_source
from layert2v_training.data.finding import find_clips
from layert2v_training.data.sources import clips_from
from support import toy_clips

RED, BLUE = (200, 30, 30), (20, 40, 180)


def write_page_folder(folder: Path, *, as_pictures: bool = False) -> Path:
    """Write layers as the authors' page has them: foreground on black, beside its matte."""
    folder.mkdir(parents=True)
    matte = toy_clips.square_matte()
    alpha = matte[..., None] // 255
    layers = {
        "full": alpha * toy_clips.flat(RED) + (1 - alpha) * toy_clips.flat(BLUE),
        "background": toy_clips.flat(BLUE),
        "foreground": alpha * toy_clips.flat(RED),
        "matte": np.repeat(matte[..., None], 3, -1),
    }
    for name, frames in layers.items():
        if as_pictures:
            toy_clips.write_pngs(folder / name, frames)
        else:
            toy_clips.write_movie(folder / f"{name}.mp4", frames)
    return folder


TEXTS = {
    "clip.txt": "background: blue\nforeground: a square\nfull: a red square over blue\n",
    "metadata.json": json.dumps(
        {
            "captions": {
                "full": "a red square over blue",
                "foreground": "a square",
                "background": "blue",
            }
        }
    ),
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("as_pictures", [False, True])
def test_folders_named_as_on_the_authors_page_are_read(
    tmp_path: Path, text: str, as_pictures: bool
) -> None:
    folder = write_page_folder(tmp_path / "a", as_pictures=as_pictures)
    (folder / text).write_text(TEXTS[text])

    for source in (tmp_path, folder):
        clip = clips_from(source, (32, 24), 6).clip(0)

        layer = clip.foregrounds[0]
        np.testing.assert_allclose(layer.rgb_THWC[0, 12, 8] * 255, RED, atol=8)
        np.testing.assert_allclose(clip.full_THWC[0, 2, 2] * 255, BLUE, atol=8)
        assert layer.alpha_THW[0, 12, 8] > 0.97
        assert layer.alpha_THW[0, 2, 2] < 0.03
        assert (layer.caption, clip.background_caption) == ("a square", "blue")
        assert clip.full_caption == "a red square over blue"


def test_what_layert2v_finish_writes_is_read(tmp_path: Path) -> None:
    layers = toy_clips.linear_layers()
    matte = toy_clips.square_matte() // 2
    for number, name in enumerate(("foreground_2", "foreground_1")):
        toy_clips.write_exrs(tmp_path / name, np.roll(layers["ghost"], 2 * number, 1))
        toy_clips.write_pngs(
            tmp_path / name.replace("foreground", "matte"),
            np.repeat(np.roll(matte, 2 * number, 1)[..., None], 3, -1),
        )
    toy_clips.write_exrs(tmp_path / "background", layers["background"], "RGB")
    (tmp_path / "clip.txt").write_text("background: a\nforeground_2: near\nforeground_1: far\n")

    clip = clips_from(tmp_path, (32, 24), 6).clip(0)

    assert [layer.caption for layer in clip.foregrounds] == ["far", "near"]
    near = clip.foregrounds[1]
    assert near.alpha_THW[0, 12, 8] == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(near.rgb_THWC[0, 12, 8], 1, atol=0.01)


def test_a_matte_beside_a_full_video_is_enough_for_a_foreground(tmp_path: Path) -> None:
    folder = write_page_folder(tmp_path / "a")
    (folder / "foreground.mp4").unlink()
    (folder / "clip.txt").write_text(TEXTS["clip.txt"])

    layer = clips_from(tmp_path, (32, 24), 6).clip(0).foregrounds[0]

    np.testing.assert_allclose(layer.rgb_THWC[0, 12, 8] * 255, RED, atol=8)


def test_a_full_video_that_is_named_and_missing_is_no_caption(tmp_path: Path) -> None:
    folder = write_page_folder(tmp_path / "a")
    (folder / "clip.txt").write_text("background: a\nforeground: b\nfull: comp.mov\n")

    (checked,) = check_source(tmp_path)

    assert "comp.mov: is missing" in str(checked.problem)


def test_named_layers_without_captions_are_told_what_to_write(tmp_path: Path) -> None:
    folder = write_page_folder(tmp_path / "a", as_pictures=True)

    for source in (tmp_path, folder):
        (problem,) = find_clips(source)[1]

        assert problem.path == folder
        assert "`foreground: a fox`" in problem.reason
