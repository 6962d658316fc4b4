import json
from pathlib import Path

import pytest

from layert2v_training.data.checking import check_source
from layert2v_training.data.finding import find_clips
from support import toy_clips

_LINE = {
    "vid": "a/full_video.mp4",
    "entry": {"pha_video_path": "a/mask.mp4", "bg_path": "a/background.mp4"},
    "overall_description": "all", "foreground_prompt": "fg", "background_prompt": "bg",
}  # fmt: skip


def _reasons(source: Path) -> dict[str, str]:
    return {problem.path.name: problem.reason for problem in find_clips(source)[1]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"entry": None}, "entry is None: a mapping"),
        ({"entry": [1]}, "entry is [1]: a mapping"),
        ({"vid": 3}, "vid is 3: a text"),
        ({"foreground_prompt": ["a", "fox"]}, "foreground_prompt is ['a', 'fox']: a text"),
        ({"background_prompt": None}, "has no background caption"),
        ({"vid": None}, "has no full video"),
    ],
)
def test_a_line_of_another_make_is_named_with_its_field(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    lines = [_LINE, {**_LINE, **change}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))

    clips, bad = find_clips(tmp_path / "list.jsonl")

    assert len(clips) == 1
    assert [problem.path.name for problem in bad] == ["list.jsonl:2"]
    assert said in bad[0].reason


def test_all_bad_lines_are_named_whatever_is_wrong_with_each(tmp_path: Path) -> None:
    good = json.dumps(_LINE).encode()
    bad = [b"{", b"\xff\xfe", b"[1]", b"[" * 100_000, b'{"entry": null}', b'{"clip": "gone"}']
    (tmp_path / "list.jsonl").write_bytes(b"\n".join([*bad, b"", good]))

    clips, _ = find_clips(tmp_path / "list.jsonl")
    reasons = _reasons(tmp_path / "list.jsonl")

    assert len(clips) == 1
    assert list(reasons) == [f"list.jsonl:{number}" for number in range(1, 7)]
    assert "not UTF-8 at byte 0" in reasons["list.jsonl:2"]


def test_a_json_array_and_lines_of_other_keys_are_refused_with_what_is_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "array.jsonl").write_text(json.dumps([_LINE], indent=1))
    (tmp_path / "other.jsonl").write_text(json.dumps({"id": "a.mp4", "text": "a fox"}))

    assert "is one JSON array" in _reasons(tmp_path / "array.jsonl")["array.jsonl"]
    assert (
        "has the keys id, text: a line holds VidLayer's keys"
        in (_reasons(tmp_path / "other.jsonl")["other.jsonl:1"])
    )


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"captions": None}, "captions is None: a mapping"),
        ({"captions": {"foreground": ["a"], "background": "b"}}, "captions.foreground is ['a']"),
        ({"paths": [], "captions": {}}, "paths is []: a mapping"),
    ],
)
def test_metadata_of_another_make_is_named_with_its_field(
    tmp_path: Path, metadata: object, said: str
) -> None:
    toy_clips.write_vidlayer(tmp_path / "good")
    (toy_clips.write_vidlayer(tmp_path / "bad") / "metadata.json").write_text(json.dumps(metadata))

    checked = list(check_source(tmp_path))

    assert sum(item.problem is None for item in checked) == 1
    assert said in _reasons(tmp_path)["metadata.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"background: a\n1: b\n", "1 is 1: names are texts; put it in quotes"),
        (b"background: a\nfox: [a, fox]\n", "fox.caption is ['a', 'fox']: a text"),
        (b"background: a\nfox: {caption: a, layer: 3}\n", "fox.layer is 3: a text"),
        (b"background: a\nfox: {caption: a, mate: b}\n", "fox.mate is not known"),
        (b"background: a\nfox: b\nfull: 7\n", "full is 7: a text"),
        (b"background: \xff\n", "is not UTF-8 at byte 12"),
        (b"- a\n", "should map names of layers to captions"),
    ],
)
def test_a_description_that_cannot_be_used_is_named_with_its_field(
    tmp_path: Path, text: bytes, said: str
) -> None:
    folder = toy_clips.write_renders(tmp_path / "shot")
    (folder / "clip.txt").unlink()
    (folder / "clip.yaml").write_bytes(text)

    assert said in _reasons(tmp_path)["clip.yaml"]


@pytest.mark.parametrize("name", ["film.mp4", "binary"])
def test_a_file_that_lists_no_clips_is_refused_as_one(tmp_path: Path, name: str) -> None:
    toy_clips.write_movie(tmp_path / "film.mp4", toy_clips.flat((1, 2, 3))).replace(tmp_path / name)

    assert _reasons(tmp_path / name) == {
        name: "is neither a folder of clips nor a .jsonl file; name one of these"
    }


def test_a_line_may_hold_any_character_and_the_file_a_mark_of_its_encoding(tmp_path: Path) -> None:
    line = json.dumps({**_LINE, "foreground_prompt": "a\u2028fox"}, ensure_ascii=False)
    (tmp_path / "list.jsonl").write_text(line, "utf-8-sig")

    clips, bad = find_clips(tmp_path / "list.jsonl")

    assert [clip.layers[0].caption for clip in clips] == ["a\u2028fox"]
    assert bad == []
