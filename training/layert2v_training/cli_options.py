"""The options that commands of `layert2v-train` share: names, types and help."""

import inspect
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layert2v_model.cost.precision import Choice

if TYPE_CHECKING:
    pass


class RecipeName(StrEnum):
    """Recipes by name, as in `recipes.RECIPES`."""

    TINY = "tiny"
    TINY_GPU = "tiny-gpu"
    DEBUG = "debug"
    WAN_1_3B = "wan2.1-1.3b"
    WAN_1_3B_LONG = "wan2.1-1.3b-long"
    WAN_14B = "wan2.1-14b"


Assets = Annotated[
    Path, typer.Option(help="Folder of the pictures. They are fetched when it is empty.")
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder of the run: checkpoints, VAEs, events. The default is runs/RECIPE."),
]
Named = Annotated[RecipeName, typer.Option("--recipe", help="The recipe to follow.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Override the stage's number of steps.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field: joint.loop.learning_rate=1e-4. Repeatable."),
]
Files = Annotated[
    list[Path] | None, typer.Option("--recipe-file", help="YAML of changed fields. Repeatable.")
]
Base = Annotated[
    Path | None, typer.Option(help="Folder of Wan2.1-T2V, in its authors' layout or in diffusers'.")
]
Init = Annotated[
    Path | None,
    typer.Option(
        help="Model folder to start from. The run takes its VAEs, and its transformer as step 0."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder or JSONL file of your own clips, instead of composed scenes."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad clips of --data out.")]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile", help="Compile the blocks. Steps get faster after a minute; g++ is needed."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print memory, disk and time, refuse runs that cannot fit, and end."
    ),
]

DeviceMemory = Annotated[
    str | None,
    typer.Option(
        help="With --dry-run, answer for a GPU of this memory, such as 24GiB, that is not in this "
        "machine. A base or --init then needs only its config.json files."
    ),
]

IgnoreFit = Annotated[
    bool, typer.Option("--ignore-fit", help="Start even if memory or disk look too small.")
]

Workers = Annotated[
    int,
    typer.Option(min=0, help="Processes that make and encode clips. With 0 the main process does."),
]

AcceptChanges = Annotated[
    bool,
    typer.Option("--accept-changes", help="Resume a run that was begun with other values."),
]

Computes = Annotated[
    Choice,
    typer.Option(
        "--precision",
        envvar="LAYERT2V_PRECISION",
        help="Precision of matrix products. auto follows the recipe, else uses bfloat16 if the "
        "processor or GPU has it natively, else float32.",
    ),
]

DEFAULT_ASSETS, RUNS = Path("cache/assets"), Path("runs")


def _option(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


SHARED = (
    _option("assets", Assets, DEFAULT_ASSETS),
    _option("out", Out, None),
    _option("recipe", Named, RecipeName.TINY),
    _option("steps", Steps, None),
    _option("base", Base, None),
    _option("init", Init, None),
    _option("files", Files, None),
    _option("changes", Changes, None),
    _option("data", Data, None),
    _option("skip_bad", SkipBad, False),
    _option("workers", Workers, 0),
    _option("accepts_changes", AcceptChanges, False),
    _option("precision", Computes, "auto"),
)
"""Options that make a `Run`, in the order of the help."""
