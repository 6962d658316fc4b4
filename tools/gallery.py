"""Draw `docs/gallery.md`, which shows every use of a model with pictures and figures.

    python tools/gallery.py --model backend/layert2v_model/tiny --out docs/gallery

Pictures go into `--out` and the page beside it (`docs/gallery` makes `docs/gallery.md`). Held-out
scenes come from the training assets, which `layert2v-train` fetches into `cache/assets`.
"""

import argparse
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from gallery_decomposition import decompose, decomposition_use
from gallery_sheet import draw_sheet
from gallery_uses import Use, make_uses
from layert2v_model.folders.model_folder import read_card
from layert2v_training.data.clips import LayeredClip
from layert2v_training.evaluation.asked_model import AskedModel
from layert2v_training.evaluation.held_out import held_out_clips


def main() -> None:
    """Make all takes, pictures and the page."""
    arguments = _arguments()
    if not (arguments.assets / "manifest.json").is_file():
        raise SystemExit(
            f"{arguments.assets} holds no training assets: give their folder as --assets"
        )
    begin = time.monotonic()
    asked_model = AskedModel.load(
        arguments.model, arguments.steps or None, arguments.guidance or None
    )
    clips = held_out_clips(
        arguments.assets,
        asked_model.width,
        asked_model.height,
        asked_model.num_frames,
        arguments.scenes,
    )
    longest = max(read_card(arguments.model)["num_frames"])
    page = write_gallery(asked_model, clips, longest, arguments)
    print(f"{page}: {time.monotonic() - begin:.0f} s")


def write_gallery(
    asked_model: AskedModel,
    clips: Sequence[LayeredClip],
    longest: int,
    arguments: argparse.Namespace,
) -> Path:
    """Make all takes from held-out `clips` (3 or more), one of `longest` frames if that is more.

    Returns:
        The page's path.
    """
    uses = make_uses(asked_model, clips[0], longest)
    done = [decompose(asked_model, clip, seed) for seed, clip in enumerate(clips)]
    uses.insert(3, decomposition_use(clips, done))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for use in uses:
        draw_sheet(use.rows).save(arguments.out / f"{use.name}.png", optimize=True)
    page = Path(arguments.out).with_suffix(".md")
    page.write_text(_page(asked_model, arguments, uses))
    return page


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("backend/layert2v_model/tiny"))
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--assets", type=Path, default=Path("cache/assets"))
    parser.add_argument("--scenes", type=int, default=12, help="held-out scenes to decompose")
    parser.add_argument(
        "--steps", type=int, default=0, help="steps, where 0 means the model's default"
    )
    parser.add_argument(
        "--guidance",
        type=float,
        default=0.0,
        help="guidance scale, where 0 means the model's default",
    )
    return parser.parse_args()


def _page(asked_model: AskedModel, arguments: argparse.Namespace, uses: Sequence[Use]) -> str:
    folder = arguments.out.name
    parts = [
        "# Gallery\n",
        "This page shows every use of the layered model. This command made it:\n",
        f"    python tools/gallery.py --model {arguments.model.as_posix()} "
        f"--out {arguments.out.as_posix()} --scenes {arguments.scenes}\n",
        _paragraph(
            f"The shots have {asked_model.width}x{asked_model.height}, "
            f"{asked_model.num_frames} frames, "
            f"{asked_model.num_inference_steps} steps and guidance {asked_model.guidance_scale:g}. "
            f"The first seeds are shown, so nothing is chosen. "
            f"Foregrounds stand over a checkerboard. Time runs to the right."
        ),
        _paragraph(
            "Recomposition is the PSNR of the flattened layers against the full video. "
            "*As made* is of the model's own layers, and *finished* is of the delivered layers. "
            "It does not say whether a picture is good, so look at the pictures. "
            "Change is the mean absolute difference of two frames."
        ),
    ]
    parts += [_section(use, folder) for use in uses]
    return "\n".join(parts)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"


def _section(use: Use, folder: str) -> str:
    table = "\n".join(f"| {what} | {value} |" for what, value in use.figures.items())
    return (
        f"## {use.title}\n\n{_paragraph(use.asked)}\n![{use.title}]({folder}/{use.name}.png)\n\n"
        f"| measured | value |\n|---|---|\n{table}\n"
    )


if __name__ == "__main__":
    main()
