"""Names of files: kinds by suffix, files that systems leave behind, layers by name."""

from collections.abc import Iterator
from pathlib import Path

from layert2v_media.errors import UnreadableMedia

IMAGE_SUFFIXES = (".png", ".exr", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
MOVIE_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mxf")
_SAME = {".jpeg": ".jpg", ".tiff": ".tif"}
_OTHER_PICTURES = (".heic", ".heif", ".avif", ".jxl", ".dpx", ".cin", ".bmp", ".tga", ".gif",
                   ".psd", ".jp2", ".hdr", ".ppm", ".dng", ".cr2", ".nef", ".arw")  # fmt: skip
"""Pictures that are known and not read, so that a refusal can name them."""
_OTHER_MOVIES = (".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".3gp", ".ogv",
                 ".vob", ".r3d", ".braw")  # fmt: skip
"""Movies that are known and not read."""
_JUNK = ("__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found",
         "system volume information")  # fmt: skip
"""Files that Windows, macOS and network drives leave beside pictures, as well as dot files."""


def is_junk(path: Path) -> bool:
    """Tell whether a name is one that systems write for themselves: hidden, or `Thumbs.db`."""
    return path.name.startswith(".") or path.name.casefold() in _JUNK


def is_movie(path: Path) -> bool:
    """Tell whether a name is a movie's, in any case."""
    return path.suffix.lower() in MOVIE_SUFFIXES


def is_picture(path: Path) -> bool:
    """Tell whether a name is a picture's, in any case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def listed(folder: Path) -> list[Path]:
    """List what people put into a folder, by name.

    Raises:
        UnreadableMedia: It cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not is_junk(path))
    except OSError as failure:
        reason = f"cannot be listed ({failure.strerror}); check the name and who may read it"
        raise UnreadableMedia(folder, reason) from failure


def walk_movies(place: Path) -> Iterator[Path]:
    """Give the movies in a folder and below it, each once. Links are followed, junk is left."""
    yield from _walk(place, set())


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    true = folder.resolve()
    if true in seen:
        return
    seen.add(true)
    for path in listed(folder):
        if path.is_dir():
            yield from _walk(path, seen)
        elif is_movie(path) and path.is_file():
            yield path


def find_layer(folder: Path, name: str) -> Path | None:
    """Find a layer by name: a folder of pictures or a movie; any case will do.

    Raises:
        UnreadableMedia: There are two, or it is a link to nothing.
    """
    wanted = name.casefold()
    found = [path for path in listed(folder) if _holds(path) and _name_of(path) == wanted]
    if len(found) > 1:
        said = " and ".join(path.name for path in found)
        raise UnreadableMedia(folder, f"holds {said}: keep one of them")
    if found and not found[0].exists():
        raise UnreadableMedia(found[0], "is a link to nothing; link it again or copy the file")
    return found[0] if found else None


def said_of_others(folder: Path, name: str) -> str:
    """Say which file has a layer's name and is no layer, for the end of a message; or nothing."""
    wanted = name.casefold()
    for path in listed(folder):
        if path.stem.casefold() == wanted and path.is_file() and not is_movie(path):
            if is_picture(path):
                return f"; {path.name} is one picture, where a folder of them is needed"
            if path.suffix.lower() in (*_OTHER_PICTURES, *_OTHER_MOVIES):
                return f"; {path.name} is of a kind that is not read"
    return ""


def layer_names(folder: Path) -> set[str]:
    """Name the layers that a folder holds, in lower case: movies and folders.

    Raises:
        UnreadableMedia: It cannot be listed.
    """
    return {_name_of(path) for path in listed(folder) if _holds(path)}


def _holds(path: Path) -> bool:
    return path.is_dir() or is_movie(path)


def _name_of(path: Path) -> str:
    return (path.name if path.is_dir() else path.stem).casefold()


def pictures_in(folder: Path) -> list[Path]:
    """List the pictures of a folder, which are of one kind.

    Raises:
        UnreadableMedia: It holds none, or several kinds.
    """
    paths = listed(folder)
    kinds: dict[str, list[Path]] = {}
    for path in filter(is_picture, paths):
        suffix = path.suffix.lower()
        kinds.setdefault(_SAME.get(suffix, suffix), []).append(path)
    if len(kinds) == 1:
        return next(iter(kinds.values()))
    wanted = f"it should hold frames of one kind ({', '.join(IMAGE_SUFFIXES)})"
    if kinds:
        raise UnreadableMedia(folder, f"holds {' and '.join(sorted(kinds))}: {wanted}")
    others = sorted({p.suffix.lower() for p in paths} & set(_OTHER_PICTURES))
    found = f"no images but {' and '.join(others)}, which are not read" if others else "no images"
    raise UnreadableMedia(folder, f"holds {found}: {wanted}")
