"""`layert2v-import WAN TRAINED --out OUT`: the authors' files into a model folder.

Progress goes to stderr. Bad input ends with one sentence and exit code 2, and leaves nothing
behind.
"""

# What the command needs is imported when it runs: PyTorch takes seconds, `--help` must not.

import signal
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layert2v_model.errors import InvalidCheckpoint, InvalidFixture, InvalidShot

if TYPE_CHECKING:
    from layert2v_model.released.importing import Released

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

STEPS, GUIDANCE = 50, 5.0
"""Defaults of sampling.

Source: LayerT2V's release, `wan/layered_t2v.py`.
"""

MAX_PROMPT_CHARS = 2000
"""About 512 tokens of English, as many as the text encoder was trained on. It counts exactly."""


class WeightPrecision(StrEnum):
    """Precision of the transformer's files."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@app.command()
def main_command(
    wan: Annotated[
        Path, typer.Argument(help="A Wan2.1-T2V folder, in its authors' layout or in diffusers'.")
    ],
    trained: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint folder of the authors' training: adapter_config.json, "
            "adapter_model.safetensors, mask_vae_lora.pt, and ema/ema_model.pt for --ema."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write. It must be empty or missing.")],
    ema: Annotated[
        bool,
        typer.Option("--ema", help="Take the average over training instead of its last values."),
    ] = False,
    dtype: Annotated[
        WeightPrecision, typer.Option(help="Precision of the transformer's files.")
    ] = WeightPrecision.FLOAT32,
    width: Annotated[int, typer.Option(help="Width of its training footage in pixels.")] = 336,
    height: Annotated[int, typer.Option(help="Height of its training footage in pixels.")] = 192,
    num_frames: Annotated[int, typer.Option(help="Number of frames of its training footage.")] = 9,
    fps: Annotated[
        float, typer.Option(help="Frames per second of its training footage.", min=1.0)
    ] = 8.0,
) -> None:
    """Turn a released LayerT2V checkpoint into a model folder."""
    import torch

    from layert2v_model.released.importing import read_released, write_model

    try:
        _check_out(out, wan, trained)
        typer.echo("reading", err=True)
        released = read_released(wan, trained, use_ema=ema)
        for note in released.notes:
            typer.echo(f"note: {note}", err=True)
        _check_trained_at(released, width, height, num_frames)
        typer.echo(f"merging {len(released.adapter.factors)} linear maps, writing {out}", err=True)
        card = _card(out.resolve().name, (width, height), num_frames, fps)
        write_model(released, card, out, getattr(torch, dtype))
    except (InvalidCheckpoint, InvalidFixture, InvalidShot) as problem:
        typer.echo(f"layert2v-import: {problem}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"wrote {out}", err=True)


def _check_out(out: Path, wan: Path, trained: Path) -> None:
    for folder in (wan, trained):
        if not folder.is_dir():
            raise InvalidCheckpoint(f"{folder} is not a folder; give the folder of the files")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InvalidCheckpoint(f"{out} exists already; name a new folder with --out")
    if len(out.resolve().name) > 63:
        raise InvalidCheckpoint(
            f"{out.name} has {len(out.name)} characters and names the model, which takes 63; "
            f"choose a shorter --out"
        )


def _check_trained_at(released: "Released", width: int, height: int, num_frames: int) -> None:
    from layert2v_model.sampling.shot_checks import check_format
    from layert2v_model.shot import ShotFormat

    shot = ShotFormat(width, height, num_frames, 1, STEPS)
    check_format(shot, released.network, released.base.vae)


def _card(name: str, size: tuple[int, int], num_frames: int, fps: float) -> dict[str, Any]:
    return {
        "id": name,
        "description": "LayerT2V as its authors trained it, on Wan2.1",
        "sizes": [list(size)],
        "num_frames": [num_frames],
        "max_foregrounds": 1,
        "max_prompt_chars": MAX_PROMPT_CHARS,
        "default_num_inference_steps": STEPS,
        "default_guidance_scale": GUIDANCE,
        "fps": fps,
    }


def _leave(signal_number: int, _: FrameType | None) -> None:
    """Unwind on a polite kill, so that the half-written folder is removed."""
    raise SystemExit(128 + signal_number)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _leave)
    app()
