"""Reads damaged movies, pictures and texts in child processes of bounded memory.

`python tools/fuzz_media.py --minutes 10` writes small real files, changes bytes of them by a seed,
and reads each. Only `UnreadableMedia` and `BadClip` are allowed. Another error, a crash, a hang or
memory beyond the limit is printed with its seed, and the file is kept. The exit status is then 1.
"""

import argparse
import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from PIL import Image

from layert2v_media.errors import UnreadableMedia
from layert2v_media.footage import Footage, probe, stream, stream_mattes
from layert2v_training.data.finding import find_clips
from layert2v_training.data.problems import BadClip
from support.media_files import scene, write_movie

_MEMORY_BYTES = 3 << 30
"""Address space of a child, for its libraries and a picture of the largest size."""
_PER_CHILD, _HANG_S = 60, 120
_MAX_FRAMES = 8
_DETAIL = r"[:;(0-9]"
"""Matches the end of a reason's part that is the same for all of its kind."""
_WORDS = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")
"""Numbers that programs read as sizes."""


def main() -> int:
    """Fuzz for some minutes, and print a line for each kind of outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz_failures"))
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-media-"))
    try:
        seeds = _write_seeds(folder / "seeds")
        return _fuzz(seeds, folder, given.minutes * 60, given.seed, given.keep)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_seeds(folder: Path) -> list[Path]:
    """Write one small file of each kind that is read."""
    folder.mkdir(parents=True)
    rgba = np.concatenate([scene(), scene()[..., :1]], -1)
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    alpha = {"alpha_mode": "1"}
    paths = [
        write_movie(folder / "h264.mp4", scene(), matrix=matrix),
        write_movie(folder / "variable.mkv", scene(), stamps=[0, 20, 300, 900]),
        write_movie(folder / "prores.mov", rgba, "prores_ks", "yuva444p10le"),
        write_movie(folder / "ffv1.mkv", rgba, "ffv1", "bgra"),
        write_movie(folder / "qtrle.mov", rgba, "qtrle", "argb"),
        write_movie(folder / "vp9.webm", rgba, "libvpx-vp9", "yuva420p", metadata=alpha),
        write_movie(folder / "vp8.webm", scene(), "libvpx", "yuv420p"),
        write_movie(folder / "mpeg4.avi", scene(), "mpeg4", "yuv420p"),
        write_movie(folder / "mjpeg.avi", scene(), "mjpeg", "yuvj420p"),
    ]
    picture = Image.fromarray(scene(1)[0])
    for name in ("a.png", "a.jpg", "a.webp", "a.tif"):
        picture.save(folder / name)
        paths.append(folder / name)
    cv2.imwrite(str(folder / "deep.png"), scene(1)[0].astype(np.uint16) * 257)
    Image.fromarray(rgba[0]).quantize(16).save(folder / "palette.png")
    paths += [folder / "deep.png", folder / "palette.png"]
    for kind in ("NO", "ZIP", "PIZ", "DWAA"):
        header = {"type": OpenEXR.scanlineimage,
                  "compression": getattr(OpenEXR, f"{kind}_COMPRESSION")}  # fmt: skip
        halves = {f"{layer}{c}": scene(1)[0][..., k].astype(np.float16)
                  for layer in ("", "x.Combined.") for k, c in enumerate("RGB")}  # fmt: skip
        path = folder / f"{kind.lower()}.exr"
        with OpenEXR.File(header, halves) as file:
            file.write(str(path))
        paths.append(path)
    (folder / "clips.jsonl").write_text('{"clip": "a"}\n{"vid": "a.mp4", "entry": {}}\n')
    (folder / "clip.yaml").write_text("background: a\nfox: {caption: b, layer: c}\nfps: 24\n")
    return [*paths, folder / "clips.jsonl", folder / "clip.yaml"]


def _fuzz(seeds: list[Path], folder: Path, seconds: float, first: int, keep: Path) -> int:
    began, number = time.monotonic(), first
    outcomes: Counter[str] = Counter()
    spawned = multiprocessing.get_context("spawn")
    while time.monotonic() - began < seconds:
        numbers = range(number, number + _PER_CHILD)
        results = spawned.Queue()
        child = spawned.Process(target=_child, args=(seeds, folder, numbers, results))
        child.start()
        _collect(child, results, numbers, seeds, folder, keep, outcomes)
        number += _PER_CHILD
    for outcome, count in outcomes.most_common():
        sys.stdout.write(f"{count:7d}  {outcome}\n")
    return 1 if any(outcome.startswith("FAULT") for outcome in outcomes) else 0


def _collect(child, results, numbers, seeds, folder, keep, outcomes) -> None:  # type: ignore[no-untyped-def]
    """Count a child's outcome for each file. A file without an outcome has ended the child."""
    for number in numbers:
        outcome = _next(child, results)
        outcomes[outcome] += 1
        if outcome.startswith("FAULT"):
            keep.mkdir(exist_ok=True)
            path = _mutated(seeds, folder, number)
            kept = keep / f"{number}-{path.name}"
            shutil.copy(path, kept)
            sys.stdout.write(f"seed {number} {path.name}: {outcome}; kept as {kept}\n")
        if outcome.startswith("FAULT: the process"):
            break
    child.kill()
    child.join()


def _next(child, results) -> str:  # type: ignore[no-untyped-def]
    """Wait for the next outcome, or for the child's end."""
    began = time.monotonic()
    while time.monotonic() - began < _HANG_S:
        try:
            return str(results.get(timeout=0.2))
        except Exception as empty:
            if type(empty).__name__ != "Empty":
                raise
        if not child.is_alive() and results.empty():
            return f"FAULT: the process ended with {child.exitcode}"
    return "FAULT: the process hangs"


def _child(seeds: list[Path], folder: Path, numbers: range, results) -> None:  # type: ignore[no-untyped-def]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    cv2.setNumThreads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Libraries report each fault there.
    for number in numbers:
        results.put(_outcome(_mutated(seeds, folder, number)))


def _mutated(seeds: list[Path], folder: Path, number: int) -> Path:
    """Change a file's bytes, bits or end, or cut out or double a piece of it, by a seed."""
    choice = random.Random(number)
    source = choice.choice(seeds)
    content = bytearray(source.read_bytes())
    for _ in range(choice.choice([1, 1, 2, 4, 16])):
        if len(content) < 16:
            break
        place = choice.randrange(len(content))
        how = choice.randrange(6)
        if how == 0:
            content[place] = choice.randrange(256)
        elif how == 1:
            content[place] ^= 1 << choice.randrange(8)
        elif how == 2:
            content[place : place + 4] = choice.choice(
                [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"]
            )
        elif how == 3:
            del content[place : place + choice.randrange(1, 64)]
        elif how == 4:
            content[place:place] = content[place : place + choice.randrange(1, 64)]
        else:
            del content[max(place, 16) :]
    path = folder / "mutated" / source.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def _outcome(path: Path) -> str:
    """Read a file as every program would."""
    if path.suffix in (".jsonl", ".yaml"):
        return _text_outcome(path)
    footage = Footage(path)
    if path.suffix not in (".mp4", ".mov", ".mkv", ".webm", ".avi"):
        shutil.rmtree(path.parent / "layer", ignore_errors=True)
        (path.parent / "layer").mkdir()
        shutil.copy(path, path.parent / "layer" / f"f_1{path.suffix}")
        footage = Footage(path.parent / "layer")
    try:
        count = min(probe(footage).num_frames, _MAX_FRAMES)
        for _ in stream(footage, range(count)):
            pass
        for _ in stream_mattes(footage, range(count)):
            pass
    except UnreadableMedia as problem:
        return f"{path.suffix} refused: {re.split(_DETAIL, problem.reason)[0][:40]}"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"FAULT: {type(error).__name__}: {str(error)[:200]}"
    return f"{path.suffix} read"


def _text_outcome(path: Path) -> str:
    source = path
    if path.suffix == ".yaml":
        source = path.parent / "clip"
        source.mkdir(exist_ok=True)
        shutil.copy(path, source / "clip.yaml")
    try:
        _, bad = find_clips(source)
    except BadClip:
        return f"{path.suffix} refused"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"FAULT: {type(error).__name__}: {str(error)[:200]}"
    return f"{path.suffix} {'refused' if bad else 'read'}"


if __name__ == "__main__":
    sys.exit(main())
