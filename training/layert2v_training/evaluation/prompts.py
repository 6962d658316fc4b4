"""Prompts of shots: one JSON object in each line, checked as a whole before anything is made."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from layert2v_model.errors import reason_of
from layert2v_model.pipeline import ShotPrompts

NAMED = 5
"""Bad lines, or bad shots, that a refusal names. The rest are counted."""

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class BadInput(Exception):
    """Raised with one sentence for the user: the value, the limit, the remedy."""


class ShotLine(BaseModel):
    """A line of a prompts file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: str = ""
    """The full picture; blank: composed from the layers' prompts."""
    background: Words
    foregrounds: tuple[Words, ...] = Field(min_length=1)
    """Back to front."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of every stream. Each draws noise of its own from it."""

    def prompts(self) -> ShotPrompts:
        """Give the words to the pipeline."""
        return ShotPrompts(self.prompt, self.background, self.foregrounds)


def read_prompts(path: Path) -> list[ShotLine]:
    """Read a prompts file; blank lines are skipped.

    Raises:
        BadInput: It cannot be read, holds no shot, or lines are wrong. It names them by number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise BadInput(
            f"{path} cannot be read as text ({reason_of(failure, path)}): name a file with one "
            f"JSON object a line as --prompts"
        ) from failure
    shots, problems = [], []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                shots.append(ShotLine.model_validate_json(line))
            except ValidationError as error:
                problems.append(f"line {number} {_reason(error)}")
    if problems:
        more = f" and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise BadInput(
            f"{path}: {'; '.join(problems[:NAMED])}{more}: a line is "
            f'{{"prompt": "...", "background": "...", "foregrounds": ["..."], "seed": 1}}'
        )
    if not shots:
        raise BadInput(f"{path} holds no shot: write one JSON object on each line")
    return shots


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"({place}: {first['msg']})" if place else f"({first['msg']})"
