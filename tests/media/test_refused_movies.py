"""Movies that are damaged, too large, or no movies are refused by name."""

from pathlib import Path

import av
import numpy as np
import pytest

from layert2v_media import limits
from layert2v_media.errors import UnreadableMedia
from layert2v_media.footage import Footage, read
from layert2v_media.movie_index import index_of
from support.media_files import largest_error, scene, write_movie


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
def test_a_movie_cut_short_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    codec = {".webm": ("libvpx-vp9", "yuv420p"), ".avi": ("mpeg4", "yuv420p")}
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    path = write_movie(tmp_path / f"a{suffix}", noise, *codec.get(suffix, ("libx264", "yuv444p")))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(UnreadableMedia, match=r"cut short|cannot be read as a movie"):
        read(Footage(path))


def test_bytes_behind_a_movie_are_no_damage(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", scene(2))
    path.write_bytes(path.read_bytes() + b"\0\0\0\x10SEFTsamsung data" * 20)

    assert largest_error(path, scene(2)) < 2


@pytest.mark.parametrize("content", [b"", b"not a movie at all", b"\0" * 300])
def test_a_file_that_is_no_movie_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)

    with pytest.raises(UnreadableMedia, match=r"a\.mp4 (cannot be read as a movie|is empty)"):
        read(Footage(tmp_path / "a.mp4"))


def test_playlists_and_lists_of_other_files_are_not_followed(tmp_path: Path) -> None:
    write_movie(tmp_path / "secret.mp4", scene(2))
    target = (tmp_path / "secret.mp4").as_posix()
    texts = {
        "concat.mov": f"ffconcat version 1.0\nfile '{target}'\n",
        "list.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "session.mkv": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 9 RTP/AVP 96\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)

        with pytest.raises(UnreadableMedia, match="cannot be read as a movie"):
            read(Footage(tmp_path / name))


def test_sound_alone_is_no_movie(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    with pytest.raises(UnreadableMedia, match="has no video stream"):
        read(Footage(tmp_path / "a.mkv"))


def test_limits_hold_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_movie(tmp_path / "a.mp4", scene(6))
    monkeypatch.setattr("layert2v_media.movie_files.PacketDecoder.frames", None)

    for name, value, said in (
        ("MAX_PIXELS", 100, "says it is 48 x 32"),
        ("MAX_FRAMES", 5, "has 6 frames"),
        ("MAX_SECONDS", 0, "lasts 0 s"),
    ):
        with monkeypatch.context() as lowered:
            lowered.setattr(limits, name, value)
            with pytest.raises(UnreadableMedia, match=said):
                index_of(path)


def test_a_layer_that_cannot_be_held_is_refused_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_movie(tmp_path / "a.mp4", scene(6))
    monkeypatch.setattr(limits, "MAX_HELD_PIXELS", 48 * 32 * 5)

    with pytest.raises(UnreadableMedia, match="at most 5 of that size are held"):
        read(Footage(path))
    assert len(read(Footage(path), [5])) == 1


def test_a_link_is_followed_and_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    write_movie(tmp_path / "a.mp4", scene(2))
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    (tmp_path / "broken.mp4").symlink_to(tmp_path / "gone.mp4")

    assert len(read(Footage(tmp_path / "link.mp4"))) == 2
    with pytest.raises(UnreadableMedia, match="is a link to nothing"):
        read(Footage(tmp_path / "broken.mp4"))


def test_interlaced_video_is_refused_with_the_remedy(tmp_path: Path) -> None:
    options = {"flags": "+ildct+ilme", "top": "1"}
    path = write_movie(tmp_path / "a.mov", scene(2), "mpeg2video", "yuv420p", options=options)

    with pytest.raises(UnreadableMedia, match="is interlaced; make it progressive"):
        read(Footage(path))
