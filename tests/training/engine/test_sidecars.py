import json
from pathlib import Path

import pytest

from layert2v_training.data.problems import BadClip
from layert2v_training.engine.sidecars import Sidecar, read_sidecar


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("background: a street\nsubject: a dog\n", Sidecar("a street", "a dog")),
        ("\ufeffbackground: a street\n", Sidecar("a street")),
        ("a dog runs along a street,\nseen from above\n",
         Sidecar(caption="a dog runs along a street, seen from above")),
        ("Style: watercolour. A dog runs.", Sidecar(caption="Style: watercolour. A dog runs.")),
        ("", Sidecar()),
    ],
)  # fmt: skip
def test_a_text_beside_a_video_names_things_or_is_its_caption(
    tmp_path: Path, content: str, said: Sidecar
) -> None:
    (tmp_path / "street.txt").write_text(content)

    assert read_sidecar(tmp_path / "street.mp4") == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("background: caf\xe9".encode("cp1252"), r"not UTF-8 at byte 15; it seems .*Windows-1252"),
        ("background: a".encode("utf-16"), "is UTF-16"),
        ("background: a".encode("utf-16-le"), "is UTF-16 without a mark"),
        (b"background: \x81\x8d", "is not UTF-8 at byte 12: save it as UTF-8"),
        (b"background: \0", "is not a text"),
        (b"background: a\nbackground: b\n", "background is given twice"),
    ],
)
def test_texts_of_other_encodings_are_told_apart_and_named(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "street.txt").write_bytes(content)

    with pytest.raises(BadClip, match=said):
        read_sidecar(tmp_path / "street.mp4")


def test_a_caption_is_found_in_the_list_of_hugging_face(tmp_path: Path) -> None:
    lines = [{"file_name": f"{name}.mp4", "text": f"a {name}"} for name in ("dog", "cat", "cat")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))

    assert read_sidecar(tmp_path / "dog.mp4") == Sidecar(caption="a dog")
    assert read_sidecar(tmp_path / "cow.mp4") == Sidecar()
    with pytest.raises(BadClip, match=r"names cat\.mp4 2 times"):
        read_sidecar(tmp_path / "cat.mp4")


def test_a_text_is_found_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "a.TXT").write_text("a fox")

    assert read_sidecar(tmp_path / "a.mp4").caption == "a fox"


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ('[{"file_name": "a.mp4", "text": "a fox"}]', "is not a JSON object"),
        ('{"file_name": "a.mp4", "text": 5}', "has no text for a.mp4"),
        ('{"file_name": "a.mp4", "caption": "a fox"}', "has no text for a.mp4"),
    ],
)
def test_a_list_that_gives_a_movie_no_text_is_refused(
    tmp_path: Path, listed: str, said: str
) -> None:
    (tmp_path / "metadata.jsonl").write_text(listed)

    with pytest.raises(BadClip, match=said):
        read_sidecar(tmp_path / "a.mp4")


def test_a_caption_that_is_given_by_a_text_and_by_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.mp4", "text": "a fox"}')
    (tmp_path / "a.txt").write_text("a dog")

    with pytest.raises(BadClip, match=r"names a\.mp4, which has a\.txt too; keep one"):
        read_sidecar(tmp_path / "a.mp4")
