"""Write the site's reference pages about commands and wire, which no module holds.

`make docs` runs this before it builds the site. The pages are made from the programs and the
protos themselves, so they are not kept in the repository.
"""

import argparse
import importlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
PROTOS = ROOT / "proto" / "layert2v" / "v1"
COPIES = {"changes.md": "CHANGELOG.md", "tiny.md": "backend/layert2v_model/tiny/README.md"}
"""Pages that lie beside their subject, and are copied unchanged."""
COMPLETION = {"--install-completion", "--show-completion"}
"""Options that Typer adds to every program, for shells only."""
_PACKAGE = ".layert2v.v1."
_FIELDS = FieldDescriptorProto


def page_names() -> list[str]:
    """Name the pages that `main` writes, without making them."""
    wire = [f"wire_{path.stem}.md" for path in sorted(PROTOS.glob("*.proto"))]
    return ["commands.md", *COPIES, *wire]


def main() -> None:
    """Write every page and remove none."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    copies = {name: _copy(ROOT / source) for name, source in COPIES.items()}
    pages = {"commands.md": commands(), **copies, **wire()}
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote {(FOLDER / name).relative_to(ROOT)}")


# Commands -----------------------------------------------------------------------------------------


def commands() -> str:
    """Describe each command of the programs with its arguments and options."""
    import typer.main

    parts = ["# Commands\n\nThe programs lie in `.venv/bin`. Each answers `--help`.\n"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for program, place in project["scripts"].items():
        command = typer.main.get_command(importlib.import_module(place.split(":")[0]).app)
        parts += _command(program, command, level=2)
    return "\n".join(parts)


def _command(path: str, command: Any, level: int) -> Iterator[str]:
    yield f"{'#' * level} {path}\n"
    yield _prose(command.help or "") + "\n"
    rows = [_parameter(each) for each in command.params if not COMPLETION & set(each.opts)]
    if rows:
        yield _table(("argument or option", "value", "meaning"), rows) + "\n"
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _command(f"{path} {name}", child, level=3)


def _parameter(parameter: Any) -> tuple[str, str, str]:
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else parameter.opts + parameter.secondary_opts
    kind = parameter.type_descriptor.annotation
    value = [kind.__name__ if isinstance(kind, type) else str(kind).replace("pathlib.", "")]
    if parameter.required:
        value.append("required")
    elif parameter.default not in (None, (), "", False) and not callable(parameter.default):
        value.append(f"default `{parameter.default}`")
    meaning = _one_line(getattr(parameter, "help", "") or "")
    return ", ".join(f"`{name}`" for name in names), ", ".join(value), meaning


def _copy(source: Path) -> str:
    """Copy a page of the repository into `FOLDER`, so that its links into docs lead there."""
    return source.read_text(encoding="utf-8").replace("](docs/", "](../")


# The wire -----------------------------------------------------------------------------------------


def wire() -> dict[str, str]:
    """Describe each proto file on a page of its own, by its comments."""
    described = _described_protos()
    pages = {message: f"wire_{Path(file.name).stem}.md" for file in described
             for message in _names(file)}  # fmt: skip
    return {f"wire_{Path(file.name).stem}.md": _File(file, pages).page() for file in described}


def _described_protos() -> list[FileDescriptorProto]:
    """Read the protos with their comments, by Buf's compiler."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "protos.binpb"
        subprocess.run([_buf(), "build", "-o", str(built)], cwd=ROOT, check=True)
        files = FileDescriptorSet.FromString(built.read_bytes()).file
    return [file for file in files if file.package == "layert2v.v1"]


def _buf() -> str:
    beside = Path(sys.executable).with_name("buf")
    found = str(beside) if beside.is_file() else shutil.which("buf")
    if found is None:
        raise SystemExit("buf is not installed: run `make .venv/installed`")
    return found


def _names(file: FileDescriptorProto) -> list[str]:
    return [_PACKAGE + each.name for each in [*file.message_type, *file.enum_type]]


class _File:
    """One proto file with its comments.

    A comment belongs to a path of field numbers and indices, as `SourceCodeInfo` defines it.
    Messages are 4, enums 5 and services 6. A message's fields, an enum's values and rpcs are 2.
    """

    def __init__(self, file: FileDescriptorProto, pages: Mapping[str, str]) -> None:
        self.file, self.pages = file, pages
        self.comments = {
            tuple(place.path): place.leading_comments for place in file.source_code_info.location
        }

    def page(self) -> str:
        """Write the whole page."""
        name = Path(self.file.name).name
        detached = [
            place.leading_comments
            for place in self.file.source_code_info.location
            if tuple(place.path) == (12,)
        ]
        parts = [f"# {self.file.package}: {name}\n", _prose("".join(detached)) + "\n"]
        for index, service in enumerate(self.file.service):
            parts += self._service(service, (6, index))
        for index, message in enumerate(self.file.message_type):
            parts += self._message(message, (4, index))
        for index, enum in enumerate(self.file.enum_type):
            parts += self._enum(enum, (5, index))
        return "\n".join(parts)

    def _service(self, service: ServiceDescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"## {service.name}\n"
        yield _prose(self.comments.get(path, "")) + "\n"
        for index, rpc in enumerate(service.method):
            stream = "stream of " if rpc.server_streaming else ""
            yield f"### {service.name}.{rpc.name}\n"
            yield _prose(self.comments.get((*path, 2, index), "")) + "\n"
            yield (
                f"Takes {self._link(rpc.input_type)} and gives {stream}"
                f"{self._link(rpc.output_type)}.\n"
            )

    def _message(self, message: DescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"## {message.name}\n"
        yield _prose(self.comments.get(path, "")) + "\n"
        rows = [
            (
                str(field.number),
                f"`{field.name}`",
                self._kind(message, field),
                _one_line(self.comments.get((*path, 2, index), "")),
            )
            for index, field in enumerate(message.field)
        ]
        if rows:
            yield _table(("no.", "field", "type", "meaning"), rows) + "\n"

    def _enum(self, enum: EnumDescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"## {enum.name}\n"
        yield _prose(self.comments.get(path, "")) + "\n"
        rows = [
            (str(value.number), f"`{value.name}`", _one_line(self.comments.get((*path, 2, i), "")))
            for i, value in enumerate(enum.value)
        ]
        yield _table(("no.", "value", "meaning"), rows) + "\n"

    def _kind(self, message: DescriptorProto, field: FieldDescriptorProto) -> str:
        entries = {f".{self.file.package}.{message.name}.{each.name}": each
                   for each in message.nested_type if each.options.map_entry}  # fmt: skip
        if field.type_name in entries:
            key, value = entries[field.type_name].field
            return f"map of {self._plain(key)} to {self._plain(value)}"
        words = ["repeated"] if field.label == _FIELDS.LABEL_REPEATED else []
        words += ["optional"] if field.proto3_optional else []
        is_choice = field.HasField("oneof_index") and not field.proto3_optional
        choice = f", one of `{message.oneof_decl[field.oneof_index].name}`" if is_choice else ""
        return " ".join([*words, self._plain(field)]) + choice

    def _plain(self, field: FieldDescriptorProto) -> str:
        if field.type_name:
            return self._link(field.type_name)
        return _FIELDS.Type.Name(field.type).removeprefix("TYPE_").lower()

    def _link(self, type_name: str) -> str:
        short = type_name.rsplit(".", 1)[-1]
        if type_name not in self.pages:
            return f"`{type_name.removeprefix('.')}`"
        return f"[{short}]({self.pages[type_name]}#{short.lower()})"


# Markdown -----------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def _one_line(text: str) -> str:
    return _prose(" ".join(text.split()))


def _prose(text: str) -> str:
    """Escape a text of a comment or a help, so that Markdown shows it unchanged."""
    from layert2v_backend.settings import default_state_folder

    lines = (line.strip() for line in text.strip().splitlines())
    plain = "\n".join(lines).replace(str(default_state_folder()), "the user's state folder")
    # Outside of code, a text that looks like a tag or a link would vanish.
    parts = re.split(r"(`[^`]*`)", plain)
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return re.sub(r"([<>*\[\]]|(?<!\w)_)", r"\\\1", text)


if __name__ == "__main__":
    main()
