"""Decides by a shared id and a counter whether a journal and an artifact store belong together.

Both carry the id, and both count published takes. A new journal has another id. A restored backup
counts fewer takes than the store beside it. In either case the store holds takes that the journal
does not know, so none of its files may count as garbage.
"""

import secrets
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """The record of the pair, which both the journal and the store keep."""

    id: str
    """The shared id, made when they met."""
    counter: int
    """Number of takes published since then. The journal counts first."""


def new_pair() -> Pair:
    """Make the pair of a journal and a store that meet for the first time."""
    return Pair(secrets.token_hex(8), 0)


def belong_together(journal: Pair | None, store: Pair | None) -> bool:
    """Say whether the journal knows every take in the store.

    A backend that dies between the two counts leaves the journal one ahead.
    """
    if journal is None or store is None or journal.id != store.id:
        return False
    return journal.counter - store.counter in (0, 1)
