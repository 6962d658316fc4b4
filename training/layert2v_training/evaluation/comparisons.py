"""Another model's takes, or another generator's layers, measured beside those of a run.

`NAME=MODEL` is asked for the same words, seeds, size and number of frames. `NAME=FOLDER` holds a
shot for each, in the order of their names. Only figures stand in the report, as those of a
baseline.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from layert2v_model.folders.model_folder import CARD_FILE
from layert2v_training.evaluation.asked_model import AskedModel
from layert2v_training.evaluation.baselines import EMPTY_MATTE, MEDIAN_PLATE, TRUTH
from layert2v_training.evaluation.measured_shots import Judges, OnShot, Section, Shot, other_words
from layert2v_training.evaluation.metrics.take_figures import measure_take
from layert2v_training.evaluation.prompts import BadInput, ShotLine


@dataclass(frozen=True)
class Comparison:
    """A model or a folder of shots to measure beside a run, and its name in the report."""

    name: str
    source: Path

    @property
    def is_model(self) -> bool:
        """Whether it is a model and not a folder of shots."""
        return is_model(self.source)


def is_model(folder: Path) -> bool:
    """Tell a model folder from a folder of shots."""
    return any((folder / name).is_file() for name in (CARD_FILE, "model_index.json"))


def read_comparisons(words: Sequence[str]) -> tuple[Comparison, ...]:
    """Read `NAME=MODEL|FOLDER` of each option.

    Raises:
        BadInput: One has no name, its folder is not there, or a name comes twice.
    """
    taken = [TRUTH, EMPTY_MATTE, MEDIAN_PLATE]
    found = []
    for option in words:
        name, _, place = option.partition("=")
        if not name or not place:
            raise BadInput(f"--beside {option} is not NAME=FOLDER: name what the folder holds")
        if name in taken:
            raise BadInput(
                f"--beside {option}: the name {name} is used already: choose another name"
            )
        if not Path(place).is_dir():
            raise BadInput(f"--beside {option}: {place} is not a folder: name a model or shots")
        taken.append(name)
        found.append(Comparison(name, Path(place)))
    return tuple(found)


def takes_for(asked_model: AskedModel, lines: Sequence[ShotLine]) -> Iterator[Shot]:
    """Make the take of every line with another model, one by one."""
    for number, line in enumerate(lines, start=1):
        yield Shot(f"shot-{number:03d}", asked_model.kept_take(line.prompts(), line.seed), line)


def measure_comparison(
    section: Section,
    name: str,
    shots: Iterable[Shot],
    lines: Sequence[ShotLine],
    judges: Judges,
    on_shot: OnShot,
) -> None:
    """Add the figures of other takes to a section's baselines.

    Args:
        section: Section of the run's own shots.
        name: Name of the baseline.
        shots: One for each of them, in their order. None is kept.
        lines: The words of all shots, or none.
        judges: Judges of the meaning of pictures.
        on_shot: Called with a message about each shot.
    """
    for number, (own, shot) in enumerate(zip(section.shots, shots, strict=True)):
        values = measure_take(shot.take, shot.truth)
        line = lines[number] if lines else None
        values |= judges.measure(shot.take, line, other_words(lines, line))
        section.add_baseline(name, own["name"], values)
        on_shot(f"measured {own['name']} of {name}")
