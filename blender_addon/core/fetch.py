# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches a job's take: whole under its name, or not at all."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from layert2v_client import Artifact, ArtifactFormat, Client, Job

from .paths import PART_SUFFIX, next_take_number, safe_path, short_job, take_folder_name
from .records import JobRecord
from .takes import Take, TakeFile, load_take, takes_of_shot

MOST_DOWNLOADS = 4
"""Files fetched at a time: enough to hide the round trips, few enough for a plain disk."""


async def fetch_take(
    client: Client,
    job: Job,
    record: JobRecord,
    shot_folder: Path,
    formats: frozenset[ArtifactFormat],
    on_fraction: Callable[[float], None],
) -> Take:
    """Fetch the files of a succeeded job into a new folder beside the shot's other takes.

    Files that another take of the shot already holds (kept layers) are linked, not sent again.
    Frames gather in a `.part` folder, which a later attempt goes on with. A take that is there
    already is given back. `on_fraction` is told the share of bytes, 0 to 1.

    Raises:
        ClientError: From the client; the part folder stays for the next attempt.
        OSError: The folder cannot be written.
    """
    earlier = takes_of_shot(shot_folder)
    for take in earlier:
        if take.job == job.name:
            return take
    artifacts = [
        artifact
        for artifact in await client.list_artifacts(job.name)
        if artifact.format in formats or artifact.format is ArtifactFormat.JSON
    ]
    part = shot_folder / f"{short_job(job.name)}{PART_SUFFIX}"
    await _fetch_files(client, artifacts, part, _files_by_hash(earlier), on_fraction)
    take = Take(
        folder=part,
        number=next_take_number(shot_folder),
        job=job.name,
        shot_uid=record.shot_uid,
        asked=record.asked,
        made=job.shot,
        fps=record.fps,
        files=tuple(TakeFile.of(artifact) for artifact in artifacts),
        empty_frames=job.report.empty_frames if job.report else (),
        unknown_words=job.unknown_words,
    )
    take.save()
    whole = shot_folder / take_folder_name(take.number, job.name)
    os.replace(part, whole)
    return load_take(whole)


def _files_by_hash(takes: Sequence[Take]) -> dict[str, Path]:
    return {
        file.sha256: take.folder.joinpath(*file.path.split("/"))
        for take in takes
        for file in take.files
    }


async def _fetch_files(
    client: Client,
    artifacts: Sequence[Artifact],
    part: Path,
    known: dict[str, Path],
    on_fraction: Callable[[float], None],
) -> None:
    total = sum(artifact.size_bytes for artifact in artifacts) or 1
    done = 0
    gate = asyncio.Semaphore(MOST_DOWNLOADS)

    async def fetch(artifact: Artifact) -> None:
        nonlocal done
        path = safe_path(part, artifact.path)
        async with gate:
            if not _is_whole(path, artifact):
                linked = _link(known.get(artifact.sha256), path) and _is_whole(path, artifact)
                if not linked:
                    await client.download(artifact, path)
        done += artifact.size_bytes
        on_fraction(done / total)

    try:
        async with asyncio.TaskGroup() as group:
            for artifact in artifacts:
                group.create_task(fetch(artifact))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _is_whole(path: Path, artifact: Artifact) -> bool:
    if not path.is_file() or path.stat().st_size != artifact.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256


def _link(source: Path | None, path: Path) -> bool:
    """Put a file that is here already at `path`: a hard link, or a copy where there are none."""
    if source is None or not source.is_file():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
    return True
