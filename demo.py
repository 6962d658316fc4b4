"""`make demo`: one shot from prompts to strips in headless Blender, and a new foreground.

It starts the local backend through the add-on and generates a shot with two foregrounds through the
add-on's operators. It renders the strips with Blender, regenerates foreground 1 with a new prompt
and renders again. It leaves `shot.blend`, `contact_sheet.png` and `report.json` in the output
folder.
"""

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import blender_addon
from blender_addon import compat
from blender_addon.core.takes import Take, takes_of_shot
from blender_addon.scene.pump import pump
from blender_addon.scene.runtime import runtime
from contact_sheet import draw_contact_sheet
from layert2v_client import ArtifactFormat, ArtifactKind, Client, Job

MODEL_STAGES = ("encoding", "denoising", "decoding")
"""Stages in which the model computes."""
DEADLINE_S = 600.0

Picture = NDArray[np.uint8]


class DemoFailed(Exception):
    """Raised when a step does not end well. Says why."""


def pump_until(is_done: Callable[[], bool], what: str) -> None:
    """Pump as Blender's timer would, which never fires without a window."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_done():
        failed = runtime.board.failed
        if failed:
            raise DemoFailed(f"{failed[-1].record.error} {failed[-1].record.remedy}")
        if not runtime.launcher.is_running:
            raise DemoFailed(f"the backend has ended: {runtime.launcher.log_tail()}")
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {DEADLINE_S:g} s for {what}")
        if not pump():
            time.sleep(0.005)


def start_backend(out: Path, socket_folder: str) -> tuple[float, float]:
    """Start the backend through the add-on. Give seconds until it answers and has loaded."""
    begun = time.monotonic()
    command = Path(sys.executable).parent
    address = f"unix:{socket_folder}/backend.sock"
    bpy.ops.layert2v.backend_start(
        command=str(command), address=address, state_folder=str(out / "state")
    )
    board = runtime.board
    pump_until(lambda: bool(board.models), "the backend")
    answered = time.monotonic() - begun
    pump_until(lambda: bool(board.info and board.info.is_model_loaded), "the model")
    return answered, time.monotonic() - begun


def fill_shot(arguments: argparse.Namespace) -> None:
    """Write the prompts into the panel's fields."""
    shot = bpy.context.scene.layert2v
    shot.prompt, shot.background = arguments.prompt, arguments.background
    for prompt in (arguments.foreground_1, arguments.foreground_2):
        bpy.ops.layert2v.foreground_add(prompt=prompt)
    shot.is_seed_random, shot.seed = False, str(arguments.seed)
    bpy.ops.layert2v.match_scene(with_range=True)
    bpy.ops.layert2v.set_view_transform()


def until_imported(press: Callable[[], set[str]]) -> float:
    """Press a button and pump until its take is on the timeline. Give the seconds."""
    begun, num_jobs = time.monotonic(), len(runtime.board.jobs)
    if press() != {"FINISHED"}:
        raise DemoFailed("the operator was refused")
    board = runtime.board
    pump_until(
        lambda: len(board.jobs) > num_jobs and not board.active and not board.ready, "the take"
    )
    return time.monotonic() - begun


def strip_named(name: str) -> Any:
    """Find a strip by its name."""
    return next(s for s in compat.all_strips(bpy.context.scene) if s.name == name)


def render_frames(folder: Path) -> list[Picture]:
    """Render the scene's range with the sequencer, as 8-bit PNG."""
    scene = bpy.context.scene
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "8"
    scene.render.use_sequencer, scene.render.dither_intensity = True, 0.0
    pictures = []
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.render.filepath = str(folder / f"render_{frame:04d}.png")
        scene.frame_set(frame)
        bpy.ops.render.render(write_still=True)
        pictures.append(np.asarray(Image.open(scene.render.filepath).convert("RGB")))
    return pictures


def pictures_of(take: Take, kind: ArtifactKind, layer_index: int = -1) -> list[Picture]:
    """Read the timeline pictures of a layer."""
    paths = take.frames(kind, layer_index, ArtifactFormat.PNG)
    return [np.asarray(Image.open(path)) for path in paths]


def largest_difference(rendered: list[Picture], full: list[Picture]) -> int:
    """Give the largest difference of two videos, in 1/255."""
    pairs = zip(rendered, full, strict=True)
    return max(int(np.abs(a[..., :3].astype(int) - b[..., :3].astype(int)).max()) for a, b in pairs)


def layer_hashes(take: Take, layer_index: int) -> str:
    """Give one SHA-256 over all files of a layer, in path order, read from disk."""
    digest = hashlib.sha256()
    for file in take.files:
        if file.layer_index == layer_index:
            digest.update(take.folder.joinpath(*file.path.split("/")).read_bytes())
    return digest.hexdigest()


def fetch_job(address: str, name: str) -> Job:
    """Ask the backend for a job."""

    async def ask() -> Job:
        async with Client.connect(address) as client:
            return await client.get_job(name)

    return asyncio.run(ask())


def describe_take(take: Take, seconds: float, rendered: list[Picture], address: str) -> Any:
    """Give the report's entry for one take."""
    job = fetch_job(address, take.job)
    full = pictures_of(take, ArtifactKind.FULL)
    model_seconds = sum(job.seconds.get(stage, 0.0) for stage in MODEL_STAGES)
    return {
        "job": take.job,
        "prompts": [layer.prompt for layer in take.made.layers],
        "seeds": [layer.seed for layer in take.made.layers],
        "seconds_press_to_strips": seconds,
        "seconds_by_stage": dict(job.seconds),
        "model_share": model_seconds / seconds,
        "finishing": asdict(job.report) if job.report else None,
        "unknown_words": [asdict(each) for each in job.unknown_words],
        "largest_render_difference_255": largest_difference(rendered, full),
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--prompt", default="", help="full picture; leave empty to combine the layers"
    )
    parser.add_argument("--background", default="a pyramid in the desert")
    parser.add_argument("--foreground-1", default="a frog standing still")
    parser.add_argument("--foreground-2", default="a butterfly moving to the right")
    parser.add_argument(
        "--replacement", default="a fox standing still", help="foreground 1 of take 2"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    return parser.parse_args()


def run(arguments: argparse.Namespace, socket_folder: str) -> dict[str, Any]:
    """Run all steps and give the report."""
    begun, out = time.monotonic(), arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    (out / "render").mkdir(parents=True)
    report: dict[str, Any] = {"blender": bpy.app.version_string}

    bpy.ops.wm.save_as_mainfile(filepath=str(out / "shot.blend"))
    report["seconds_backend_start"], report["seconds_model_loaded"] = start_backend(
        out, socket_folder
    )
    address = runtime.session.address if runtime.session else ""
    fill_shot(arguments)

    # --- take 1: generate, import, render ---
    seconds_1 = until_imported(bpy.ops.layert2v.generate)
    bpy.ops.wm.save_mainfile()
    rendered_1 = render_frames(out / "render")
    shot_folder = Path(bpy.path.abspath(strip_named("Background").directory)).parents[2]
    (take_1,) = takes_of_shot(shot_folder)
    report["take_1"] = describe_take(take_1, seconds_1, rendered_1, address)

    # --- take 2: foreground 1 regenerated in place ---
    strip = strip_named("Foreground 1")
    strip.select = True
    bpy.context.scene.sequence_editor.active_strip = strip
    seconds_2 = until_imported(
        lambda: bpy.ops.layert2v.regenerate(
            prompt=arguments.replacement, seed=str(arguments.seed + 1)
        )
    )
    rendered_2 = render_frames(out / "render")
    take_1, take_2 = takes_of_shot(shot_folder)
    report["take_2"] = describe_take(take_2, seconds_2, rendered_2, address)
    report["kept_layers"] = [
        {"layer": k, "before": layer_hashes(take_1, k), "after": layer_hashes(take_2, k)}
        for k in (0, 2)
    ]
    report["regenerated_layer"] = {
        "layer": 1, "before": layer_hashes(take_1, 1), "after": layer_hashes(take_2, 1),
    }  # fmt: skip

    bpy.ops.wm.save_mainfile()
    sheet = draw_contact_sheet([(take_1, rendered_1), (take_2, rendered_2)])
    sheet.save(out / "contact_sheet.png")
    report["seconds_in_all"] = time.monotonic() - begun
    return report


def main() -> None:
    """Run the demo, and exit with 1 and one sentence if it fails."""
    arguments = parse_arguments()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_addon.register()
    try:
        with tempfile.TemporaryDirectory(prefix="layert2v-") as socket_folder:
            report = run(arguments, socket_folder)
    except (DemoFailed, RuntimeError) as error:
        raise SystemExit(f"demo: {error}") from error
    finally:
        blender_addon.unregister()
        runtime.close()
    text = json.dumps(report, indent=1)
    (arguments.out / "report.json").write_text(text + "\n")
    print(text, flush=True)
    # The bpy module may hang while it frees its memory at exit (seen once in 4.5.15).
    os._exit(0)


if __name__ == "__main__":
    main()
