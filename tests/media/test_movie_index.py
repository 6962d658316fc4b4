"""Which frames of a movie are shown, and when."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from layert2v_media.footage import Footage, probe, read
from support.media_files import largest_error, scene, write_movie

STAMPS = (0, 20, 40, 300, 1000)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_times_of_a_variable_rate_are_the_time_stamps(tmp_path: Path, suffix: str) -> None:
    path = write_movie(tmp_path / f"a{suffix}", scene(5), stamps=STAMPS)

    facts = probe(Footage(path))

    assert facts.times == tuple(Fraction(stamp, 1000) for stamp in STAMPS)
    assert facts.fps == 4
    assert largest_error(path, scene(5)) < 2


@pytest.mark.parametrize(
    "fps", [Fraction(24), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(8), Fraction(60)]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_steady_rate_is_exact_whatever_the_container_rounds(
    tmp_path: Path, fps: Fraction, suffix: str
) -> None:
    codec = ("mpeg4", "yuv420p") if suffix == ".avi" else ("libx264", "yuv444p")
    path = write_movie(tmp_path / f"a{suffix}", np.repeat(scene(4), 30, 0), *codec, fps=fps)

    facts = probe(Footage(path))

    assert (facts.fps, facts.times, facts.num_frames) == (fps, None, 120)


def _trimmed(path: Path, source: Path, first: float) -> Path:
    """Copy a movie from a time on; FFmpeg writes an edit list, since that is no key frame."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        shift = round(first / old.streams.video[0].time_base)
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                new.mux(packet)
    return path


def test_frames_before_an_edit_list_are_not_shown(tmp_path: Path) -> None:
    options = {"crf": "0", "preset": "ultrafast", "g": "100"}
    whole = write_movie(tmp_path / "whole.mp4", scene(8), options=options)
    path = _trimmed(tmp_path / "trimmed.mp4", whole, 3 / 24)

    facts = probe(Footage(path))

    assert facts.num_frames == 5
    assert largest_error(path, scene(8)[3:]) < 2
    assert np.array_equal(read(Footage(path), [2]), read(Footage(path))[2:3])


def test_hidden_frames_of_vp8_are_not_counted(tmp_path: Path) -> None:
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "1M", "arnr-maxframes": "7"}
    path = write_movie(tmp_path / "a.webm", scene(12).repeat(4, 0), "libvpx", "yuv420p",
                       options=options)  # fmt: skip

    assert probe(Footage(path)).num_frames == 48
    assert len(read(Footage(path))) == 48


def test_frames_are_read_in_any_order_and_as_often_as_named(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", scene(6), options={"crf": "0", "bf": "3"})

    assert np.array_equal(read(Footage(path), [4, 1, 1]), read(Footage(path))[[4, 1, 1]])


def _with_sound(path: Path, seconds: float) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=24, options={"crf": "0"})
        video.height, video.width, video.pix_fmt = 32, 48, "yuv444p"
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for codes in scene(6):
            frame = av.VideoFrame.from_ndarray(codes, format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        silence = np.zeros((1, round(8000 * seconds)), np.int16)
        heard = av.AudioFrame.from_ndarray(silence, layout="mono")
        heard.sample_rate = 8000
        container.mux(sound.encode(heard))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("seconds", [0.05, 2.0])
@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_sound_of_another_length_is_no_damage(tmp_path: Path, suffix: str, seconds: float) -> None:
    path = _with_sound(tmp_path / f"a{suffix}", seconds)

    assert probe(Footage(path)).num_frames == 6
    assert probe(Footage(path)).fps == 24
