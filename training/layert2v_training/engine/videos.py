"""The movies to work on: found, and looked at before any work is done."""

from collections.abc import Sequence
from pathlib import Path

from layert2v_media.errors import UnreadableMedia
from layert2v_media.kinds import MOVIE_SUFFIXES, is_junk, is_movie, walk_movies
from layert2v_media.movies import stream_shown
from layert2v_training.data.problems import BadClip, reading
from layert2v_training.engine.sidecars import read_sidecar


def find_videos(places: Sequence[Path]) -> list[Path]:
    """Give the movies among files and folders, each once.

    Raises:
        FileNotFoundError: A place is missing, is no movie, or is a folder without one.
    """
    found = {place: _movies_in(place) for place in places}
    empty = [place for place, movies in found.items() if not movies]
    if empty or not found:
        names = ", ".join(map(str, empty)) or "nothing"
        kinds = ", ".join(MOVIE_SUFFIXES)
        raise FileNotFoundError(f"no movie in {names}; give files or folders of {kinds}")
    return list({path.resolve(): path for movies in found.values() for path in movies}.values())


def reason_against(video: Path) -> str | None:
    """Say why a movie cannot be used, or nothing: its packets are counted, every frame decoded.

    Decoding finds what no header tells, for little: vtest.avi takes .2 s, and 7 minutes to build.
    """
    try:
        read_sidecar(video)
        for number, pixels in enumerate(stream_shown(video)):
            if number == 0:
                pixels()  # says what is wrong with the colours
    except UnreadableMedia as problem:
        return problem.reason
    except BadClip as problem:
        return f"has {problem.path.name} beside it, which {problem.reason}"
    return None


def _movies_in(place: Path) -> list[Path]:
    """Find movies, also behind links; not what systems leave beside them, such as `._a.mp4`."""
    if place.is_dir():
        with reading(place):
            return list(walk_movies(place))
    return [place] if is_movie(place) and place.is_file() and not is_junk(place) else []
