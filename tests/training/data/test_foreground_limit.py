from pathlib import Path

import pytest

from layert2v_training.data.clip_files import ClipFiles, ClipLayer
from layert2v_training.data.clip_footage import Footage
from layert2v_training.data.foreground_limit import limit_foregrounds
from layert2v_training.data.problems import BadClips
from layert2v_training.data.sources import ClipFormat, FileClips


def clips(*counts: int, skip_bad: bool = False) -> FileClips:
    """Clips with as many foregrounds as `counts` says; no file is there to be read."""
    movie = Footage(Path("a.mp4"))
    files = [
        ClipFiles(
            Path(f"clip_{number}"), movie, "blue", tuple(ClipLayer("a fox", movie, movie)
                                                         for _ in range(count))
        )
        for number, count in enumerate(counts)
    ]  # fmt: skip
    return FileClips(files, ClipFormat(32, 32, 1), 0, skip_bad=skip_bad)


def test_clips_with_more_foregrounds_than_the_model_are_named() -> None:
    with pytest.raises(BadClips, match="clip_1: has 4 foregrounds, the model takes 3"):
        limit_foregrounds(clips(1, 4, 3), 3)


def test_they_are_left_out_where_bad_clips_are() -> None:
    source = clips(1, 4, 3, skip_bad=True)

    limit_foregrounds(source, 3)

    assert [len(clip.layers) for clip in source.clips] == [1, 3]


def test_a_source_of_nothing_else_is_refused() -> None:
    with pytest.raises(BadClips):
        limit_foregrounds(clips(4, skip_bad=True), 3)
