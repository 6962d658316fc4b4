"""The words that a model knows, and which words of a prompt it does not.

Used by the add-on while the artist types, by the backend for what it reports, and by training for
the model's card. Plain Python: no wire, no torch, no other package.
"""

from layert2v_words.matching import FULL, find_unknown_words
from layert2v_words.vocabulary import UnknownWords, Vocabulary, alphabetical, without_article

__all__ = [
    "FULL",
    "UnknownWords",
    "Vocabulary",
    "alphabetical",
    "find_unknown_words",
    "without_article",
]
