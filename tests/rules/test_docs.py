"""Pages are short, their links lead somewhere, and what they name exists."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

import reference

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SHELVES = ("backend", "benchmarks", "blender_addon", "docs", "proto", "tests", "tools", "training")
GENERATED = {f"reference/{name}" for name in reference.page_names()}
"""Pages that `make docs` writes; what they say is tested where it comes from."""
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).as_posix() not in GENERATED]
)
MOST_LINES = 250
MOST_COLUMNS = 100
LONG = frozenset({"log.md"})
"""A history, newest first, which nobody reads from end to end. Its old names stay as they were."""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages(*, but: frozenset[str] = frozenset()) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "page", [page for page in PAGES if page.name not in but], ids=named
    )


@cache
def prose_and_code(page: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part a page into lines outside of code blocks, and lines of code blocks."""
    prose, code, is_fenced = [], [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            code.append(line.strip())
        else:
            prose.append(line)
    return tuple(prose), tuple(code)


def code_of(page: Path) -> Iterator[str]:
    """Give every piece of code of a page: blocks, continued lines joined, and inline code."""
    prose, code = prose_and_code(page)
    for line in re.sub(r"\\\n", " ", "\n".join(code)).splitlines():
        yield line.split(" #")[0]
    for part in re.findall(r"`([^`]+)`", "\n".join(prose)):
        yield " ".join(part.split())


@pages(but=LONG)
def test_no_page_is_long(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pages()
def test_lines_fit_a_window(page: Path) -> None:
    prose, _ = prose_and_code(page)

    wide = [
        line for line in prose
        if len(line) > MOST_COLUMNS and not line.startswith(("|", "![", "#"))
        and not re.search(r"https?://", line)
    ]  # fmt: skip

    assert not wide, "\n".join(wide)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Slugs of the headings, as Python-Markdown's `toc` makes them."""
    headings = (line for line in prose_and_code(page)[0] if re.match(r"#+ ", line))
    return frozenset(map(slug, headings))


def slug(heading: str) -> str:
    plain = unicodedata.normalize("NFKD", heading.lstrip("#")).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


_TARGETS = (
    r"\]\(\s*<?([^)\s>]+)",  # [text](target "title") and ![text](<target>)
    r"^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)",  # [name]: target
    r"\b(?:href|src)=[\"']([^\"']+)",
)


def links_in(text: str) -> list[str]:
    """List what links, pictures and HTML of a text lead to, each form of Markdown's."""
    found = (re.findall(target, text, flags=re.MULTILINE) for target in _TARGETS)
    return [link for links in found for link in links]


def test_links_are_found_in_every_form() -> None:
    text = """[a](one.md) ![b](two.png) [c](three.md "a title") [d](<four.md>)
    [e][name] <img src="six.png"> <a href='seven.md'>

[name]: five.md
"""

    assert links_in(text) == [
        "one.md", "two.png", "three.md", "four.md", "five.md", "six.png", "seven.md",
    ]  # fmt: skip


@pages()
def test_every_link_leads_to_a_page_and_its_heading(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", "\n".join(prose_and_code(page)[0]))
    lost = []
    for link in links_in(text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"https?:", link) or (
            target.is_relative_to(DOCS) and target.relative_to(DOCS).as_posix() in GENERATED
        ):
            continue
        is_inside = page.is_relative_to(DOCS) <= target.is_relative_to(DOCS)
        is_found = target.exists() and (not anchor or anchor in anchors(target))
        if not (is_found and is_inside):
            lost.append(link)

    assert not lost, "no such file or heading, or outside of docs, which the site cannot show"


def test_every_page_has_a_place_in_the_site() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    written = {page.relative_to(DOCS).as_posix() for page in PAGES if page.is_relative_to(DOCS)}

    assert sorted(leaves(nav)) == sorted(written | GENERATED)


def leaves(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, list):
        for part in nav:
            yield from leaves(part)
    elif isinstance(nav, dict):
        yield from leaves(list(nav.values()))


@pages(but=LONG)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))

    named_targets = {
        word for code in code_of(page) for word in re.findall(r"\bmake ([a-z-]+)", code)
    }

    assert named_targets <= targets


@pages(but=LONG)
def test_every_command_and_option_that_is_named_exists(page: Path) -> None:
    listed = (ROOT / "tests/rules/golden/commands.txt").read_text(encoding="utf-8").splitlines()
    lost = []
    for code in code_of(page):
        found = re.match(r"(?:\.venv/bin/)?(layert2v-[a-z]+)(.*)", code)
        if not found:
            continue
        program, rest = found.groups()
        words = [line.split(": ")[0].split(" [")[0] for line in listed if line.startswith(program)]
        known = {word for line in words for word in line.split()}
        asked = re.findall(r"(?<!\S)--[a-z][a-z-]*", rest)
        # `program command`, where the program has commands at all.
        commands = {line.split()[1] for line in words if re.match(rf"{program} [a-z]", line)}
        first = rest.split()[0] if rest.split() else ""
        if re.fullmatch(r"[a-z][a-z-]+", first) and commands and first not in commands:
            lost.append(code)
        lost += [code for option in asked if option not in known | {"--help"}]
        lost += [] if words else [code]

    assert not lost, "\n".join(lost)


@pages(but=LONG)
def test_commands_are_printed_as_a_checkout_runs_them(page: Path) -> None:
    code = "\n".join(prose_and_code(page)[1])

    bare = [line for line in code.splitlines() if re.match(r"layert2v-[a-z]+ ", line)]
    bare += [line for line in code_of(page) if re.match(r"python[\d.]* ", line)]

    assert not bare, "begin with .venv/bin/, because nothing else finds the programs"


@cache
def file_names() -> frozenset[str]:
    """Names of the source files, wherever they are."""
    here = {path.name for path in ROOT.glob("*.*")}
    return frozenset(
        here | {path.name for shelf in SHELVES for path in (ROOT / shelf).rglob("*.*")}
    )


@pages(but=LONG)
def test_every_path_of_the_repository_that_is_named_exists(page: Path) -> None:
    lost = []
    for code in code_of(page):
        for word in re.findall(r"[\w./*-]+", code):
            if word.split("/")[0] in SHELVES and "/" in word:
                is_found = any(ROOT.glob(word.rstrip("/.")))
            elif re.fullmatch(r"\w+\.(py|sh|proto)", word):
                is_found = word in file_names()
            else:
                continue
            lost += [] if is_found or word.removeprefix("docs/") in GENERATED else [word]

    assert not lost, "\n".join(lost)


@pages(but=LONG)
def test_every_python_name_of_the_repository_that_is_named_exists(page: Path) -> None:
    # `::: name` is where the site shows the docstrings of a module or a class.
    shown = [line.removeprefix("::: ") for line in prose_and_code(page)[0] if line[:4] == "::: "]
    named_in_code = [
        name
        for code in code_of(page)
        for name in re.findall(r"(?<![\w/.])(?:layert2v_\w+|blender_addon)(?:\.\w+)+", code)
    ]

    lost = [name for name in [*shown, *named_in_code] if not is_python_name(name)]

    assert not lost, "\n".join(lost)


def is_python_name(name: str) -> bool:
    """Whether a dotted name leads to a package, a module, or a name that a module's text holds."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for shelf in ("backend", "proto", "training", "."):
            module = (ROOT / shelf).joinpath(*parts[:length])
            files = [file for file in (module.with_suffix(".py"), module / "__init__.py")
                     if file.is_file()]  # fmt: skip
            if files:
                text = files[0].read_text(encoding="utf-8")
                return all(re.search(rf"\b{part}\b", text) for part in parts[length:])
    return False
