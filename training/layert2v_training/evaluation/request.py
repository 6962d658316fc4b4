"""What an evaluation is asked for, and what can be refused before anything is read or made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from layert2v_model.cost.precision import Choice
from layert2v_training.evaluation.beside import Beside, is_model
from layert2v_training.evaluation.conditioning import FULL, Subset
from layert2v_training.evaluation.prompts import BadInput
from layert2v_training.evaluation.vbench_scores import check_vbench
from layert2v_training.scenes.assets import MANIFEST

DEFAULT_ASSETS = Path("cache/assets")
"""Fetched when missing; a folder that is named must hold the pictures."""


@dataclass(frozen=True)
class Request:
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
    """Of how many scenes; None: of all."""
    beside: tuple[Beside, ...] = ()
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

    def with_defaults(self) -> "Request":
        """Fill in what was not said."""
        regenerate = 1 if self.regenerate is None else self.regenerate
        return replace(self, regenerate=regenerate, given=self.given or (FULL,))


def check_request(request: Request) -> None:
    """Check what can be checked without reading layers or weights, and make the folder OUT.

    Raises:
        BadInput: Options do not fit each other or the source, or OUT cannot be written.
    """
    source = request.source
    if not source.is_dir():
        raise BadInput(f"{source} is no folder: name a model folder or a folder of shots")
    if request.is_model:
        _check_model(request)
    else:
        _check_folder(request)
    check_vbench(request.vbench)
    _check_out(request.out)


def _check_model(request: Request) -> None:
    if (request.prompts is None) == (request.held_out == 0):
        raise BadInput("a model is asked by --prompts or by --held-out: give one of them")
    if request.truth:
        raise BadInput("--truth is for folders of shots: leave it out, or use --held-out")
    if request.skip_bad:
        raise BadInput("--skip-bad is for folders of shots: leave it out")
    is_named = request.assets != DEFAULT_ASSETS
    if request.held_out and is_named and not (request.assets / MANIFEST).is_file():
        raise BadInput(
            f"--assets {request.assets} holds no {MANIFEST}: correct the name, or run "
            f"`layert2v-data assets {request.assets}` to fetch the pictures"
        )
    if not request.held_out:
        _refuse_said(request, ("given", "given_scenes"), "is for held-out scenes: add --held-out")


def _check_folder(request: Request) -> None:
    if request.held_out:
        raise BadInput(
            f"{request.source} holds no model, which --held-out asks: name a model folder"
        )
    reason = "is what a model is asked for: leave it out for a folder of shots"
    for_model = ["frames", "regenerate", "given", "given_scenes"]
    if not request.asks_a_model:
        for_model += ["steps", "guidance", "takes"]
    _refuse_said(request, for_model, reason)
    if request.precision != "auto" and not request.asks_a_model:
        raise BadInput(f"--precision {reason}")
    if request.truth and not request.truth.is_dir():
        raise BadInput(f"{request.truth} is no folder: name that of the true layers as --truth")
    if request.skip_bad and request.beside:
        raise BadInput("--skip-bad and --beside do not go together: shots must pair up, leave one")
    models = [other.name for other in request.beside if other.is_model]
    if models and request.prompts is None:
        raise BadInput(f"--beside {models[0]} is a model: say what to ask it for with --prompts")


def _refuse_said(request: Request, names: Sequence[str], reason: str) -> None:
    """Refuse the first of some options that was given."""
    for name in names:
        if getattr(request, name) is not None:
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
