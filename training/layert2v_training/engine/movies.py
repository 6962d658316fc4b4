"""The movies to work on: found, and looked at before any work is done."""

from collections.abc import Sequence
from pathlib import Path

from layert2v_model.media import MOVIE_SUFFIXES
from layert2v_training.data.footage import Footage, probe
from layert2v_training.data.problems import BadClip
from layert2v_training.engine.shots import decode


def find_videos(places: Sequence[Path]) -> list[Path]:
    """Give the movies among files and folders, each once.

    Raises:
        FileNotFoundError: A place is missing, is no movie, or is a folder without one; names all.
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
        probe(Footage(video))
        for _ in decode(video):
            pass
    except BadClip as problem:
        return problem.reason
    return None


def _movies_in(place: Path) -> list[Path]:
    paths = sorted(place.rglob("*")) if place.is_dir() else [place]
    return [path for path in paths if path.suffix.lower() in MOVIE_SUFFIXES and path.is_file()]
