"""The options of an evaluation, and refusals before anything is read or made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from layert2v_model.cost.precision import Choice
from layert2v_training.evaluation.comparisons import Comparison, is_model
from layert2v_training.evaluation.given_scenes import FULL, Subset
from layert2v_training.evaluation.metrics.vbench_scores import check_vbench
from layert2v_training.evaluation.prompts import BadInput
from layert2v_training.scenes.assets import MANIFEST

DEFAULT_ASSETS = Path("cache/assets")
"""Fetched when missing. A folder that is named must hold the pictures."""


@dataclass(frozen=True)
class Options:
    """The command's inputs, as its options say them."""

    source: Path
    out: Path
    prompts: Path | None = None
    held_out: int = 0
    assets: Path = DEFAULT_ASSETS
    truth: Path | None = None
    steps: int | None = None
    guidance: float | None = None
    frames: int | None = None
    takes: Path | None = None
    regenerate: int | None = None
    """First shots of which a layer is regenerated; None: 1."""
    given: tuple[Subset, ...] | None = None
    """Streams of held-out scenes that are given, each in turn; None: the full video."""
    given_scenes: int | None = None
    """Number of those scenes; None: all."""
    beside: tuple[Comparison, ...] = ()
    skip_bad: bool = False
    vbench: tuple[str, ...] = ()
    has_alignment: bool = True
    precision: Choice = "auto"

    @property
    def is_model(self) -> bool:
        """Whether the source is a model, and no folder of shots."""
        return is_model(self.source)

    @property
    def asks_a_model(self) -> bool:
        """Whether any take is to be made."""
        return self.is_model or any(other.is_model for other in self.beside)

    def with_defaults(self) -> "Options":
        """Fill in what was not said."""
        regenerate = 1 if self.regenerate is None else self.regenerate
        return replace(self, regenerate=regenerate, given=self.given or (FULL,))


def check_evaluation(options: Options) -> None:
    """Check what can be checked without reading layers or weights, and make the folder OUT.

    Raises:
        BadInput: Options do not fit each other or the source, or OUT cannot be written.
    """
    source = options.source
    if not source.is_dir():
        raise BadInput(f"{source} is not a folder: name a model folder or a folder of shots")
    if options.is_model:
        _check_model(options)
    else:
        _check_folder(options)
    check_vbench(options.vbench)
    _check_out(options.out)


def _check_model(options: Options) -> None:
    if (options.prompts is None) == (options.held_out == 0):
        raise BadInput("a model is asked by --prompts or by --held-out: give one of them")
    if options.truth:
        raise BadInput("--truth is for folders of shots: leave it out, or use --held-out")
    if options.skip_bad:
        raise BadInput("--skip-bad is for folders of shots: leave it out")
    is_named = options.assets != DEFAULT_ASSETS
    if options.held_out and is_named and not (options.assets / MANIFEST).is_file():
        raise BadInput(
            f"--assets {options.assets} holds no {MANIFEST}: correct the name, or run "
            f"`layert2v-data assets {options.assets}` to fetch the pictures"
        )
    if not options.held_out:
        _refuse_said(options, ("given", "given_scenes"), "is for held-out scenes: add --held-out")


def _check_folder(options: Options) -> None:
    if options.held_out:
        raise BadInput(
            f"{options.source} holds no model, which --held-out asks: name a model folder"
        )
    reason = "is for models: leave it out for a folder of shots"
    for_model = ["frames", "regenerate", "given", "given_scenes"]
    if not options.asks_a_model:
        for_model += ["steps", "guidance", "takes"]
    _refuse_said(options, for_model, reason)
    if options.precision != "auto" and not options.asks_a_model:
        raise BadInput(f"--precision {reason}")
    if options.truth and not options.truth.is_dir():
        raise BadInput(f"{options.truth} is not a folder: name that of the true layers as --truth")
    if options.skip_bad and options.beside:
        raise BadInput(
            "--skip-bad and --beside do not go together: shots must pair up, so leave one out"
        )
    models = [other.name for other in options.beside if other.is_model]
    if models and options.prompts is None:
        raise BadInput(f"--beside {models[0]} is a model: name its prompts with --prompts")


def _refuse_said(options: Options, names: Sequence[str], reason: str) -> None:
    """Refuse the first of some options that was given."""
    for name in names:
        if getattr(options, name) is not None:
            raise BadInput(f"--{name.replace('_', '-')} {reason}")


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file: name a folder with --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as failure:
        raise unwritable(out, failure) from failure


def unwritable(out: Path, failure: OSError) -> BadInput:
    """Say that a folder takes no report."""
    return BadInput(
        f"{out} cannot be written: {failure.strerror}; free space there or choose another "
        f"folder with --out"
    )
