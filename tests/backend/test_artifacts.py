import hashlib
import os
from pathlib import Path

import pytest

from layert2v_backend.artifacts import ArtifactStore, free_bytes
from layert2v_backend.errors import DataLoss
from layert2v_backend.pairing import Pair


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def put(store: ArtifactStore, *contents: bytes) -> list[tuple[str, int]]:
    folder = store.draft_folder("job", 1)
    for number, content in enumerate(contents):
        (folder / str(number)).write_bytes(content)
    sealed = [store.seal(folder / str(number)) for number in range(len(contents))]
    store.adopt(sealed)
    return [(draft.sha256, draft.size_bytes) for draft in sealed]


def test_a_file_is_found_by_its_hash_and_cannot_be_written(store: ArtifactStore) -> None:
    [(sha256, size_bytes)] = put(store, b"picture")

    assert sha256 == hashlib.sha256(b"picture").hexdigest()
    path = store.check(sha256, size_bytes)
    assert path.read_bytes() == b"picture"
    assert path.stat().st_mode & 0o222 == 0


def test_equal_files_are_stored_once(store: ArtifactStore) -> None:
    first, second = put(store, b"same", b"same")

    assert first == second
    assert len(list(store.root.glob("sha256/*/*"))) == 1


def test_storing_a_file_again_heals_a_damaged_one(store: ArtifactStore) -> None:
    [(sha256, size_bytes)] = put(store, b"picture")
    store.path(sha256).chmod(0o644)
    store.path(sha256).write_bytes(b"pucture")

    put(store, b"picture")

    assert store.check(sha256, size_bytes).read_bytes() == b"picture"


@pytest.mark.parametrize(
    ("damage", "words"), [(b"pucture", "does not match"), (b"pic", "does not match")]
)
def test_a_damaged_file_is_data_loss(store: ArtifactStore, damage: bytes, words: str) -> None:
    [(sha256, size_bytes)] = put(store, b"picture")
    store.path(sha256).chmod(0o644)
    store.path(sha256).write_bytes(damage)

    with pytest.raises(DataLoss, match=words):
        store.check(sha256, size_bytes)


def test_a_missing_file_is_data_loss(store: ArtifactStore) -> None:
    with pytest.raises(DataLoss, match="is missing"):
        store.check("ab" * 32, 3)


def test_drafts_of_an_attempt_begin_empty_and_are_dropped(store: ArtifactStore) -> None:
    (store.draft_folder("job", 1) / "half").write_text("written")

    assert list(store.draft_folder("job", 1).iterdir()) == []
    store.drop_drafts()
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("words", ["cannot be read", "it is a folder"])
def test_a_file_that_cannot_be_read_is_data_loss(store: ArtifactStore, words: str) -> None:
    [(sha256, size_bytes)] = put(store, b"picture")
    store.path(sha256).unlink()
    store.path(sha256).mkdir()  # a folder cannot be read, not even by root

    with pytest.raises(DataLoss, match=words):
        store.check(sha256, size_bytes)


def test_what_a_publication_left_goes_to_a_dated_trash(store: ArtifactStore) -> None:
    (garbage, _), (used, _) = put(store, b"garbage", b"used")
    [unfinished] = store.unfinished()

    assert store.discard(unfinished, {used}) == [garbage]

    assert not store.path(garbage).exists()
    assert store.path(used).exists()
    [trashed] = store.root.glob("trash/????-??-??/*")
    assert (trashed.name, trashed.read_bytes()) == (garbage, b"garbage")
    assert store.unfinished() == []


def test_a_settled_publication_has_no_garbage(store: ArtifactStore) -> None:
    put(store, b"picture")

    store.settle("job", 1, Pair("id", 1))

    assert store.unfinished() == []
    assert store.pair() == Pair("id", 1)


def test_a_file_that_was_there_before_is_never_garbage(store: ArtifactStore) -> None:
    put(store, b"taken before")
    store.settle("job", 1, None)

    put(store, b"taken before", b"new")

    [unfinished] = store.unfinished()
    assert unfinished.sha256s == (hashlib.sha256(b"new").hexdigest(),)


def test_drafts_of_others_are_left_alone(store: ArtifactStore) -> None:
    (store.root / "tmp" / "my folder").mkdir()
    (store.root / "tmp" / "notes-1").write_text("mine")

    store.drop_drafts()

    assert len(list((store.root / "tmp").iterdir())) == 2


def test_the_trash_is_left_alone_while_there_is_room(store: ArtifactStore) -> None:
    (store.root / "trash" / "2026-01-05").mkdir(parents=True)

    assert store.empty_trash(1) == []
    assert store.empty_trash(1 << 62) == ["2026-01-05"]


def test_free_bytes_are_those_of_the_disk(tmp_path: Path) -> None:
    assert 0 < free_bytes(tmp_path) <= os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
