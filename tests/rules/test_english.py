"""Phrases that our English has given up stay out of code, messages and pages."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELVES = ("backend", "benchmarks", "blender_addon", "docs", "proto", "tests", "tools", "training")
BANNED = {
    "anew": "say regenerate, or again",
    "shall": "use the present tense, or should",
    "makes? a take": "say generate a take",
    "nobody (?:has|asked)": "name the thing that is missing",
    "somebody": "name the reader, the worker or the user",
    "whoever": "name the person or the program",
    "(?:is|are|be) made of": "say composed from, or holds",
    "are taken(?! apart)": "say are used, or are computed",
    "could not be had|can(?:not)? be had": "say is available, or is possible",
    "what (?:is there|there is|there are|it takes is)": "name the thing",
    "the ones? that": "use a noun",
    "mend(?:s|ed|ing)?": "say repair, or fix",
    "at the least": "say at least",
    "failing that": "say or else",
    "in no time": "say at once",
    "try all the same": "say start anyway",
}
PHRASES = re.compile(
    "|".join(
        rf"(?P<p{number}>\b(?:{phrase})\b)".replace(" ", r"\s+")
        for number, phrase in enumerate(BANNED)
    ),
    re.IGNORECASE,
)


GENERATED = {"changes.md", "commands.md", "tiny.md"}
"""Pages of references that `make docs` writes from other files, beside `wire_*.md`."""


def files(pattern: str) -> Iterator[Path]:
    """Give the repository's files of a kind, except this one and generated pages."""
    for folder in (ROOT / shelf for shelf in SHELVES):
        for path in sorted(folder.rglob(pattern)):
            is_generated = path.name in GENERATED or path.name.startswith("wire_")
            if path != Path(__file__) and not is_generated:
                yield path
    yield from sorted(ROOT.glob(pattern))


def texts_of_python(source: str) -> Iterator[tuple[int, str]]:
    """Give comments and strings, each with its first line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def texts_of_page(page: str) -> Iterator[tuple[int, str]]:
    """Give a page with its code blanked out."""
    yield 1, re.sub(r"```.*?```|`[^`]*`", lambda code: "\n" * code[0].count("\n"), page, flags=re.S)


def faults(path: Path) -> Iterator[str]:
    source = path.read_text(encoding="utf-8")
    if not PHRASES.search(source):
        return
    texts = texts_of_python if path.suffix == ".py" else texts_of_page
    for first, text in texts(source):
        for found in PHRASES.finditer(text):
            line = first + text[: found.start()].count("\n")
            remedy = list(BANNED.values())[int((found.lastgroup or "p0")[1:])]
            yield f"{path}:{line}: '{' '.join(found.group().split())}': {remedy}"


@pytest.mark.parametrize("pattern", ["*.py", "*.md", "*.proto"])
def test_no_phrase_comes_back_that_was_given_up(pattern: str) -> None:
    found = [fault for path in files(pattern) for fault in faults(path)]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A picture is\nmade of layers.", 1),
        ("```\nwhoever\n```\nIt is `anew`.\nMake a take.", 5),
        ("Videos are taken apart, and marshalling is shallow.", None),
    ],
)
def test_a_phrase_is_found_in_prose_as_whole_words(
    text: str, line: int | None, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")

    found = list(faults(page))

    assert bool(found) == (line is not None)
    assert all(fault.startswith(f"{page}:{line}:") for fault in found)


def test_a_phrase_is_found_in_comments_and_messages_but_not_in_names(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('anew = f"{1} is made anew"\n\nshall = 2  # who shall?\n', encoding="utf-8")

    found = list(faults(module))

    assert sorted(fault.split(":")[1] for fault in found) == ["1", "3"]
