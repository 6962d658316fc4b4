from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from layert2v_training.data.clips import Pixels
from layert2v_training.data.sources import clips_from
from layert2v_training.engine import scale
from layert2v_training.engine.cuts import CameraShot, Codes
from layert2v_training.engine.layers import candidates, reasons_against
from layert2v_training.engine.moving_subjects import Rectangle
from layert2v_training.engine.reasons import ShotRejected
from layert2v_training.engine.recipe import BOX_PROMPTED, EngineRecipe, Matter
from layert2v_training.engine.templates import TemplateCaptioner
from layert2v_training.engine.writing import write_clip

RECIPE = EngineRecipe(height=48, num_frames=9, most_clips=1)


class KnownMatter:
    """Knows the mattes of `street`."""

    def mattes(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> Pixels:
        return (frames_THWC[..., 0] > 180).astype(np.float32)


class BlinkingMatter(KnownMatter):
    """Makes the subject half transparent in every third frame."""

    def mattes(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> Pixels:
        alpha_THW = super().mattes(frames_THWC, boxes)
        alpha_THW[::3] *= 0.6
        return alpha_THW


class FilledBoxes:
    """Takes all of a box for the subject, whatever it shows."""

    def mattes(self, frames_THWC: Codes, boxes: list[Rectangle | None]) -> Pixels:
        alpha_THW = np.zeros(frames_THWC.shape[:3], np.float32)
        for alpha_HW, box in zip(alpha_THW, boxes, strict=True):
            if box is not None:
                alpha_HW[box[1] : box[3], box[0] : box[2]] = 1
        return alpha_THW


def street(num_frames: int = 18) -> Codes:
    """A red square crossing grey noise to the right."""
    noise = np.random.default_rng(1).integers(60, 120, (48, 64, 1), np.uint8)
    frames = np.repeat(np.repeat(noise, 3, -1)[None], num_frames, 0)
    for t in range(num_frames):
        frames[t, 18:34, 2 + 3 * t : 12 + 3 * t] = (220, 40, 40)
    return frames


def take_apart(frames: Codes, tmp_path: Path) -> list:  # type: ignore[type-arg]
    captioner = TemplateCaptioner(tmp_path / "street.avi")
    return list(
        candidates(CameraShot("street", frames, Fraction(8)), RECIPE, KnownMatter(), captioner)
    )


def test_a_crossing_subject_gets_a_matte_and_a_plate_without_it(tmp_path: Path) -> None:
    (made,) = take_apart(street(), tmp_path)

    truth = (street()[:9, ..., 0] > 180).astype(np.float32)
    matte = made.clip.foregrounds[0].alpha_THW
    assert np.minimum(matte, truth).sum() > 0.9 * np.maximum(matte, truth).sum()
    assert made.clip.background_THWC[..., 0].max() < 0.6
    assert made.figures["recomposition"] > 30
    assert reasons_against(made.figures, replace(RECIPE, cover=(0.001, 0.6))) == []


def test_a_subject_that_stays_in_place_is_found_in_its_own_plate(tmp_path: Path) -> None:
    frames = street(1).repeat(18, axis=0)
    for t in range(18):
        left = 12 + 10 * (t % 3)
        frames[t, 10:40, left : left + 28] = (220, 40, 40)

    (swaying,) = take_apart(frames, tmp_path)
    (crossing,) = take_apart(street(), tmp_path)

    assert crossing.figures["in_plate"] < 0.1
    assert swaying.figures["in_plate"] > 0.5
    assert any(reason.kind == "in_plate" for reason in reasons_against(swaying.figures, RECIPE))


@pytest.mark.parametrize("matter", BOX_PROMPTED)
def test_plates_are_not_searched_by_what_finds_something_in_any_box(
    tmp_path: Path, matter: Matter
) -> None:
    recipe = replace(RECIPE, mattes=matter)
    captioner = TemplateCaptioner(tmp_path / "street.avi")

    (made,) = candidates(
        CameraShot("street", street(), Fraction(8)), recipe, FilledBoxes(), captioner
    )

    assert made.figures["in_plate"] == 0


class GreyPainter:
    """Paints all that is covered grey; keeps what it was told."""

    def plates(self, frames_THWC: Codes, covered_THW: NDArray[np.bool_], words: str) -> Codes:
        self.words = words
        return np.where(covered_THW[..., None], np.uint8(90), frames_THWC)


def test_a_painter_makes_the_plate_of_every_frame_and_is_told_what_it_shows(tmp_path: Path) -> None:
    (tmp_path / "street.txt").write_text("background: a street\n")
    captioner, painter = TemplateCaptioner(tmp_path / "street.avi"), GreyPainter()

    (made,) = candidates(
        CameraShot("street", street(), Fraction(8)), RECIPE, KnownMatter(), captioner, painter
    )

    is_red = street()[:9, ..., 0] > 180
    plates = np.round(made.clip.background_THWC * 255)
    assert (plates[is_red] == 90).all()
    assert (plates[:, :8] == street()[:9, :8]).all()
    assert painter.words == "a street, the camera stands still"
    assert made.figures["unseen"] == 0


def test_a_clip_is_captioned_by_its_text_and_its_motion(tmp_path: Path) -> None:
    (tmp_path / "street.txt").write_text("background: a street\nsubject: a red box\n")

    (made,) = take_apart(street(), tmp_path)

    assert made.clip.background_caption == "a street, the camera stands still"
    assert made.clip.foregrounds[0].caption == "a red box moving to the right"


def test_only_names_tell_a_clip_of_templates_from_others(tmp_path: Path) -> None:
    named, unnamed = tmp_path / "street.avi", tmp_path / "alley.avi"
    (tmp_path / "street.txt").write_text("background: a street\nsubject: a red box\n")
    captions = ("a street, the camera stands still", "a red box moving to the right")

    assert TemplateCaptioner(named).telling(captions).text == "a street. a red box"
    assert TemplateCaptioner(unnamed).telling(captions).text == ""


@pytest.mark.parametrize(("frames", "reason"), [
    (street(4), "too short: 4 frames"),
    (np.repeat(street(1), 12, 0), "nothing moves"),
    (np.stack([np.roll(street(1)[0], 3 * t, axis=1) for t in range(12)]), "camera moves"),
])  # fmt: skip
def test_a_shot_that_gives_no_clip_says_why(tmp_path: Path, frames: Codes, reason: str) -> None:
    with pytest.raises(ShotRejected, match=reason):
        take_apart(frames, tmp_path)


def test_a_part_in_which_nothing_moves_does_not_cost_the_rest_of_the_shot(tmp_path: Path) -> None:
    empty = street(1)
    empty[:, 18:34, 2:12] = empty[:, 0:16, 2:12]
    frames = np.concatenate([street(9), empty.repeat(9, 0), street(9)])
    captioner = TemplateCaptioner(tmp_path / "street.avi")
    recipe = replace(RECIPE, most_clips=3)

    made = list(
        candidates(CameraShot("street", frames, Fraction(8)), recipe, KnownMatter(), captioner)
    )

    assert [candidate.name for candidate in made] == ["street-00", "street-02"]


def test_the_checker_names_each_figure_and_its_limits() -> None:
    figures = {"recomposition": 20.0, "cover": 0.1, "unseen": 0.5, "in_plate": 0.9,
               "core_flicker": 900.0, "area_flicker": 0.01}  # fmt: skip

    reasons = reasons_against(figures, replace(RECIPE, most_core_flicker=200))

    assert [str(reason) for reason in reasons] == [
        "recomposition is 20, allowed is 27 to inf",
        "unseen is 0.5, allowed is 0 to 0.2",
        "core_flicker is 900, allowed is 0 to 200",
        "in_plate is 0.9, allowed is 0 to 0.5",
    ]


def test_a_fast_subject_with_a_steady_matte_does_not_flicker(tmp_path: Path) -> None:
    (made,) = take_apart(street(), tmp_path)

    assert made.figures["core_flicker"] < 1
    assert made.figures["area_flicker"] < 0.02


def test_a_matte_that_comes_and_goes_flickers(tmp_path: Path) -> None:
    captioner = TemplateCaptioner(tmp_path / "street.avi")
    shot = CameraShot("street", street(), Fraction(8))

    (made,) = candidates(shot, RECIPE, BlinkingMatter(), captioner)

    kinds = [reason.kind for reason in reasons_against(made.figures, RECIPE)]
    assert {"core_flicker", "area_flicker"} <= set(kinds)


@pytest.mark.parametrize("times", [2, 3])
def test_sizes_follow_the_height_of_the_picture(tmp_path: Path, times: int) -> None:
    (small,) = take_apart(street(), tmp_path)
    (large,) = take_apart(street().repeat(times, axis=1).repeat(times, axis=2), tmp_path)

    covered = [made.figures["cover"] for made in (small, large)]
    assert covered[1] == pytest.approx(covered[0], rel=0.05)
    assert scale.square(9, scale.LINES).shape == (9, 9)
    assert scale.square(9, scale.LINES * times, 5).shape == (8 * times + 1, 4 * times + 1)


def test_what_the_engine_writes_the_readers_read(tmp_path: Path) -> None:
    (made,) = take_apart(street(), tmp_path)
    write_clip(tmp_path / "clips" / "street", made.clip, Fraction(8))

    clip = clips_from(tmp_path / "clips", (64, 48), 9).clip(0)

    np.testing.assert_allclose(clip.full_THWC, made.clip.full_THWC, atol=1 / 255)
    layer, written = clip.foregrounds[0], made.clip.foregrounds[0]
    np.testing.assert_allclose(layer.alpha_THW, written.alpha_THW, atol=1 / 255)
    assert layer.caption == written.caption
