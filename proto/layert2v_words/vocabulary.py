"""A model's vocabulary, as data, and the part of a prompt that it does not cover."""

from collections.abc import Iterable
from dataclasses import dataclass

ARTICLES = ("a", "an", "the")


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model was taught, as in its training's captions."""

    foregrounds: tuple[str, ...]
    """Subjects of a foreground, each with its article, such as `a fox`."""
    backgrounds: tuple[str, ...]
    """Subjects of a background, such as `a pine forest`."""
    motions: tuple[str, ...] = ()
    """Additions to a foreground's prompt, such as `moving to the right`."""
    cameras: tuple[str, ...] = ()
    """Additions to a background's prompt, such as `the camera pans left`."""


@dataclass(frozen=True)
class UnknownWords:
    """A prompt that a vocabulary does not cover, so that the model may draw something else."""

    layer_index: int
    """The layer's place in the stack, where 0 is the background. -1 means the full picture."""
    words: str
    """The unknown part, in the prompt's own words, such as `old castle on a hill`."""
    nearest: tuple[str, ...]
    """The entries that come nearest, at most 3. Empty if none is near."""
    message: str
    """One sentence for the artist."""


def without_article(words: str) -> str:
    """Leave out an article at the beginning, as in `fox` of `a fox`."""
    first, _, rest = words.partition(" ")
    return rest if rest and first.casefold() in ARTICLES else words


def alphabetical(entries: Iterable[str]) -> list[str]:
    """Sort entries as people look them up. Articles and capitals do not count."""
    return sorted(entries, key=lambda words: without_article(words).casefold())
