"""What a model knows, as data, and what of a prompt it does not know."""

from collections.abc import Iterable
from dataclasses import dataclass

ARTICLES = ("a", "an", "the")


@dataclass(frozen=True)
class Vocabulary:
    """What a model was taught to draw, as its training's captions said it."""

    foregrounds: tuple[str, ...]
    """What a foreground can show, each with its article: `a fox`."""
    backgrounds: tuple[str, ...]
    """What a background can show: `a pine forest`."""
    motions: tuple[str, ...] = ()
    """What a foreground's prompt may add: `moving to the right`."""
    cameras: tuple[str, ...] = ()
    """What a background's prompt may add: `the camera pans left`."""


@dataclass(frozen=True)
class UnknownWords:
    """A prompt that a vocabulary does not cover: something else may be drawn."""

    layer_index: int
    """The layer's place in the stack, 0 the background; -1: the full picture."""
    words: str
    """What is not known, in the prompt's own words: `old castle on a hill`."""
    nearest: tuple[str, ...]
    """The entries that come nearest, at most 3; empty: none is near."""
    message: str
    """One sentence for the artist."""


def without_article(words: str) -> str:
    """Leave out an article at the beginning: `fox` of `a fox`."""
    first, _, rest = words.partition(" ")
    return rest if rest and first.casefold() in ARTICLES else words


def alphabetical(entries: Iterable[str]) -> list[str]:
    """Sort entries as people look them up: articles and capitals do not count."""
    return sorted(entries, key=lambda words: without_article(words).casefold())
