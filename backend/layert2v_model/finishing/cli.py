"""`layert2v-finish FOLDER --out OUT`: finishing for layers from anywhere.

Reads `full`, `background`, `foreground[_k]` and `matte[_k]`, each a movie or a folder of images,
and writes background and foregrounds as EXR and mattes as PNG. The report goes to stdout as JSON,
everything else to stderr. Bad input ends with one sentence and exit code 2, and leaves nothing
behind.
"""

# What the command needs is imported when it runs: PyTorch takes seconds, `--help` must not.

import json
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from layert2v_model.errors import InvalidLayers, NotFinite
from layert2v_model.files.form import Form

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of full, background, foreground[_k] and matte[_k], each a movie "
            "(.mp4 .mov .mkv .webm .avi .m4v .mxf) or a folder of images (.png .exr .jpg .webp "
            ".tif). A foreground with alpha needs no matte."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder to write. It must be empty or missing, unless --overwrite is given."
        ),
    ],
    foreground: Annotated[
        Form, typer.Option(help="Form of foreground colours: premultiplied on black, or straight.")
    ] = Form.AUTO,
    overwrite: Annotated[bool, typer.Option(help="Replace layers that OUT already holds.")] = False,
) -> None:
    """Make layers composite back to their full video, with straight colour and clean plates."""
    from layert2v_media.errors import UnreadableMedia
    from layert2v_model.finishing.folder import CannotFinish, check_out, finish_folder

    try:
        check_out(folder, out, overwrite=overwrite)
        report = finish_folder(folder, out, foreground, lambda words: typer.echo(words, err=True))
    except (CannotFinish, InvalidLayers, NotFinite, UnreadableMedia) as problem:
        typer.echo(f"layert2v-finish: {problem}", err=True)
        raise typer.Exit(2) from None
    except OSError as failure:  # a folder that may not be listed, for one
        typer.echo(f"layert2v-finish: {failure.filename}: {failure.strerror}", err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(report, indent=2, allow_nan=False))


def _leave(signal_number: int, _: FrameType | None) -> None:
    """Unwind on a polite kill, so that the half-written folder is removed."""
    raise SystemExit(128 + signal_number)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _leave)
    app()
