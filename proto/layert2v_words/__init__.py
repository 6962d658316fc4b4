"""Finds the words of a prompt that a model does not know.

The add-on uses it while the artist types, the backend for its reports, and training for the model's
card. Plain Python: no wire, no torch, no other package.
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
