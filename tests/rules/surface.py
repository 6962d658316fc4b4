"""What others rely on, one line each: public names, commands with their options, settings.

`python tests/rules/surface.py` writes the lists in `golden` again. Their difference in a commit is
what the commit changes for users, so it is read before it is accepted.
"""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
FACES = (
    "layert2v_client",
    "layert2v_domain.artifact",
    "layert2v_domain.job",
    "layert2v_domain.shot",
    "layert2v_words",
    "layert2v_media.footage",
    "layert2v_model.alpha",
    "layert2v_model.errors",
    "layert2v_model.loading",
    "layert2v_model.pipeline",
    "layert2v_model.stack",
    "layert2v_model.streams",
    "layert2v_model.finishing.finish",
    "layert2v_model.finishing.report",
)
"""Modules that a user of the libraries imports; the others are rooms behind them."""
PROGRAMS = {
    "layert2v-backend": "layert2v_backend.cli",
    "layert2v-data": "layert2v_training.data_cli",
    "layert2v-evaluate": "layert2v_training.evaluation.cli",
    "layert2v-finish": "layert2v_model.finishing.cli",
    "layert2v-import": "layert2v_model.released.cli",
    "layert2v-train": "layert2v_training.cli",
}


def public_names() -> Iterator[str]:
    """List the public names of `FACES` with their signatures, as the source has them."""
    import griffe

    for face in FACES:
        module = griffe.load(face, resolve_aliases=True, resolve_external=True)
        is_listed = module.exports is not None
        for name in sorted(module.exports or module.members):
            member = module[str(name)]
            if is_listed or (member.is_public and not member.is_alias):
                yield from _described(f"{face}.{name}", member)


def _described(path: str, member: Any) -> Iterator[str]:
    if member.is_class:
        bases = ", ".join(map(str, member.bases))
        yield f"class {path}({bases})" if bases else f"class {path}"
        is_dataclass = "dataclass" in member.labels
        for name, part in sorted(member.members.items()):
            is_said = name[0] != "_" or (name == "__init__" and not is_dataclass)
            if part.is_public and not part.is_class and is_said:
                yield from _described(f"{path}.{name}", part)
    elif member.is_function:
        signature = member.signature(return_type=True, name=path)
        yield signature.replace("(self, ", "(").replace("(self)", "()")
    else:
        kind = f": {member.annotation}" if member.annotation is not None else ""
        value = f" = {member.value}" if member.value is not None else ""
        yield " ".join(f"{path}{kind}{value}".split())


def commands() -> Iterator[str]:
    """List every command of the programs with its arguments and options."""
    import typer.main

    for program, module in PROGRAMS.items():
        yield from _command(program, typer.main.get_command(importlib.import_module(module).app))


def _command(path: str, command: Any) -> Iterator[str]:
    yield f"{path}: {_one_line(command.help)}"
    for parameter in command.params:
        names = " ".join([*parameter.opts, *parameter.secondary_opts])
        facts = [_kind(parameter.type_descriptor.annotation)]
        facts += ["required"] if parameter.required else []
        if parameter.default not in (None, ()) and not callable(parameter.default):
            facts.append(f"default {parameter.default}")
        said = _one_line(getattr(parameter, "help", ""))
        yield f"{path} {names} [{', '.join(facts)}]: {said}"
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _command(f"{path} {name}", child)


def _kind(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _one_line(text: str | None) -> str:
    from layert2v_backend.settings import default_state_folder

    return " ".join((text or "").split()).replace(str(default_state_folder()), "STATE_FOLDER")


def settings() -> Iterator[str]:
    """List the variables that the backend reads, and the fields of the recipe `tiny`."""
    from layert2v_backend.settings import Settings
    from layert2v_training.runs.recipes import tiny

    for name, field in Settings.model_fields.items():
        value = "" if field.default_factory else f" = {field.default!r}"
        yield f"LAYERT2V_{name.upper()}: {_kind(field.annotation)}{value}"
    for name, value in _leaves("recipe", asdict(tiny())):
        yield f"{name} = {value!r}"


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for name, part in value.items():
        yield from _leaves(f"{path}.{name}", part)


LISTS = {"public_names": public_names, "commands": commands, "settings": settings}


def main() -> None:
    """Write the lists as they are now."""
    for name, listed in LISTS.items():
        (GOLDEN / f"{name}.txt").write_text("".join(f"{line}\n" for line in listed()))
        sys.stdout.write(f"wrote {GOLDEN / name}.txt\n")


if __name__ == "__main__":
    main()
