from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layert2v_media.errors import UnreadableMedia
from layert2v_media.numbering import ordered

FOLDER = Path("shot")
_WORDS = st.text("abcXYZ_. ()", max_size=6)


@given(
    before=_WORDS, after=_WORDS, first=st.integers(-30, 2000), count=st.integers(2, 30),
    padding=st.integers(1, 6), is_upper=st.booleans(), seed=st.randoms(use_true_random=False),
)  # fmt: skip
def test_any_numbering_gives_frames_in_the_order_of_time(
    before: str, after: str, first: int, count: int, padding: int, is_upper: bool, seed: object
) -> None:
    suffix = ".PNG" if is_upper else ".png"
    numbers = range(first, first + count)
    paths = [FOLDER / f"{before}{number:0{padding}d}{after}x{suffix}" for number in numbers]
    shuffled = list(paths)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]

    if first < 0 and first + count <= 0 and before and before[-1].isalnum():
        paths.reverse()  # a dash between words
    assert ordered(FOLDER, shuffled) == paths


@pytest.mark.parametrize(
    "names",
    [
        ("shot.1.bg.png", "shot.2.bg.png", "shot.10.bg.png"),
        ("v2_take3-0008.png", "v2_take3-0009.png", "v2_take3-0010.png"),
        ("f_-002.png", "f_-001.png", "f_0000.png", "f_0001.png"),
        ("f_-0002.png", "f_-0001.png"),
        ("-2.png", "-1.png", "0.png", "1.png"),
        ("Frame1.PNG", "frame2.png", "FRAME3.Png"),
        ("frame (8).png", "frame (9).png", "frame (10).png"),
        ("only.png",),
    ],
)
def test_numbers_are_found_wherever_they_stand(names: tuple[str, ...]) -> None:
    gaps = {"shot.10.bg.png"}
    paths = [FOLDER / name for name in names if name not in gaps]

    assert ordered(FOLDER, list(reversed(paths))) == paths


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("f_1.png", "f_2.png", "preview.png"), r"preview\.png has no number in its name"),
        (("a.png", "b.png"), "holds 2 pictures without a number"),
        (("f_1.png", "f_2.png", "g_3.png"), r"g_3\.png is not named like f_1\.png"),
        (("f_1.png", "f_3.png"), "frame 2 is missing"),
        (("f_1.png", "f_01.png"), "holds frame 1 twice"),
        (("s1_f1.png", "s2_f2.png"), "differ in 2 numbers"),
        (("f_1.png", "f_1 (copy).png", "f_2.png"), "is not named like"),
    ],
)
def test_names_of_no_sequence_are_refused(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(UnreadableMedia, match=said):
        ordered(FOLDER, [FOLDER / name for name in names])
