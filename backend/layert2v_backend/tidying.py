"""Clears the garbage of unfinished publications when a backend starts."""

import structlog

from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.journal import Journal
from layert2v_backend.pairing import belong_together, new_pair

log = structlog.get_logger()


def tidy(journal: Journal, store: ArtifactStore) -> None:
    """Move unfinished publications into the trash, if journal and store belong together.

    If they do not, their files stay for good, and the two are paired for the future.

    Raises:
        StorageFault: The journal cannot be read or written.
        OSError: The store cannot be read or written.
    """
    of_journal, of_store = journal.pair(), store.pair()
    if of_journal is None and of_store is None:
        _pair(journal, store)
        return
    if not belong_together(of_journal, of_store):
        log.warning(
            "store_not_swept",
            why="the journal is new or a restored backup, so it does not belong to this store",
            journal=of_journal and vars(of_journal),
            store=of_store and vars(of_store),
            kept=str(store.root),
        )
        _pair(journal, store)
        return
    assert of_journal is not None
    _discard_unfinished(journal, store, of_journal.id)


def _pair(journal: Journal, store: ArtifactStore) -> None:
    pair = new_pair()
    store.set_pair(pair)
    journal.set_pair(pair)


def _discard_unfinished(journal: Journal, store: ArtifactStore, pair_id: str) -> None:
    unfinished = [found for found in store.unfinished() if found.pair_id == pair_id]
    if not unfinished:
        return
    referenced = journal.referenced()
    for found in unfinished:
        for sha256 in store.discard(found, referenced):
            log.info("trashed", sha256=sha256, of=found.record.stem)
