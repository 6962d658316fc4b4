r"""Serve an exported model by the backend, generate one shot through the client, and stop.

    python tools/serve_once.py runs/debug/model --out runs/debug/take
    python tools/serve_once.py models/crab --out takes/crab --background "a sandy beach" \
        --foreground "a crab standing still" --steps 12

This shows that a trained model is served. It writes every layer's PNG files into `--out` and prints
the folder of each layer. The backend listens on a free port of the loopback interface.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layert2v_client import (
    ArtifactFormat,
    Client,
    Job,
    JobEvent,
    JobState,
    LayerRole,
    LayerSpec,
    Shot,
)

BACKEND = (sys.executable, "-m", "layert2v_backend", "serve")
ANNOUNCED = "serving layert2v.v1 on "
PROMPTS = ("a green meadow", "a fox moving to the right")
"""Prompts of the background and of one foreground."""
STOP_S = 30.0


class NotServed(Exception):
    """Raised when the backend does not start or the shot fails. Says why."""


@contextmanager
def backend(model: Path, out: Path) -> Iterator[str]:
    """Serve a model folder from a process of its own, and give its address.

    Args:
        model: The exported folder.
        out: The folder for the backend's state and log.

    Raises:
        NotServed: The backend ended before it answered. The message names its log.
    """
    out.mkdir(parents=True, exist_ok=True)
    log = out / "backend.log"
    command = (*BACKEND, "--listen", "127.0.0.1:0", "--state", str(out / "state"),
               "--models-dir", str(model.resolve()), "--no-prewarm")  # fmt: skip
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.startswith(ANNOUNCED):
                raise NotServed(f"the backend did not start: see the reason in {log}")
            yield line.removeprefix(ANNOUNCED).strip()
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def take_one(
    address: str,
    model_id: str,
    out: Path,
    prompts: tuple[str, str] = PROMPTS,
    seed: int = 1,
    num_steps: int = 1,
) -> list[Path]:
    """Generate one shot with the model, and return the folders of its layers.

    Args:
        address: The address of the backend.
        model_id: The id of the served model.
        out: Folder for the layers.
        prompts: The prompts of the background and of one foreground.
        seed: The seed of the shot.
        num_steps: Steps of sampling. One step only shows that the model is served.

    Raises:
        NotServed: The shot failed. The message has the backend's reason.
    """
    background, foreground = prompts
    shot = Shot(
        layers=(
            LayerSpec(LayerRole.BACKGROUND, background),
            LayerSpec(LayerRole.FOREGROUND, foreground),
        ),
        model=model_id,
        seed=seed,
        num_inference_steps=num_steps,
    )
    async with Client.connect(address) as client:
        job = await client.create_job(shot, request_id=str(uuid.uuid4()))
        async for event in client.watch_job(job.name):
            _say(event)
        return await _fetch(client, await client.get_job(job.name), out)


def _say(event: JobEvent) -> None:
    if event.state:
        print(f"the shot is {event.state}", file=sys.stderr, flush=True)
    elif event.progress:
        progress = event.progress
        step = f", step {progress.step} of {progress.num_steps}" if progress.num_steps else ""
        print(f"{progress.stage}{step}", file=sys.stderr, flush=True)


async def _fetch(client: Client, job: Job, out: Path) -> list[Path]:
    if job.state is not JobState.SUCCEEDED:
        reason = job.error.message if job.error else job.state
        raise NotServed(f"the shot did not succeed: {reason}")
    folders = dict[Path, None]()
    for artifact in await client.list_artifacts(job.name):
        if artifact.format is ArtifactFormat.PNG:
            path = out / artifact.path
            path.parent.mkdir(parents=True, exist_ok=True)
            await client.download(artifact, path)
            folders[path.parent] = None
    return list(folders)


def main() -> None:
    """Serve, generate, print, stop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="exported model folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the take")
    parser.add_argument("--background", default=PROMPTS[0], help="its prompt")
    parser.add_argument("--foreground", default=PROMPTS[1], help="its prompt")
    parser.add_argument("--seed", type=int, default=1, help="seed of the shot")
    parser.add_argument(
        "--steps", type=int, default=1, help="steps of sampling, where 1 is only a test"
    )
    arguments = parser.parse_args()
    prompts = (arguments.background, arguments.foreground)
    try:
        model_id = json.loads((arguments.model / "layert2v.json").read_text())["id"]
        print("starting the backend, which loads the model", file=sys.stderr, flush=True)
        with backend(arguments.model, arguments.out) as address:
            take = take_one(
                address, model_id, arguments.out, prompts, arguments.seed, arguments.steps
            )
            folders = asyncio.run(take)
    except (NotServed, OSError) as error:
        raise SystemExit(f"{arguments.model} was not served: {error}") from None
    print(f"{model_id} was served, and the layers of one shot lie in")
    for folder in folders:
        print(f"  {folder}")


if __name__ == "__main__":
    main()
