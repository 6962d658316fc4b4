# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches a job's take. Its final name appears only once it is whole."""

import asyncio
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from layert2v_client import Artifact, ArtifactFormat, Client, Job

from .journal import PROCESS
from .paths import (
    PART_LIFE_S,
    PART_SUFFIX,
    check_apart,
    next_take_number,
    safe_path,
    short_job,
    take_folder_name,
)
from .records import JobRecord
from .takes import Take, TakeFile, load_take, takes_of_shot

MOST_DOWNLOADS = 4
"""Files fetched at a time. Four hide the round trips and do not overload a plain disk."""


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
    Frames gather in a `.part` folder of this process and request, which a later attempt
    continues. Whole files in another process's folder are linked. A take that already exists is
    returned, even if another process has finished it meanwhile. `on_fraction` receives the
    share of bytes, 0 to 1.

    Raises:
        ClientError: The backend cannot be read, or names files that cannot be written safely. The
            part folder stays for the next attempt.
        OSError: The folder cannot be written.
    """
    earlier = takes_of_shot(shot_folder)
    if found := _take_of(earlier, job.name):
        return found
    artifacts = [
        artifact
        for artifact in await client.list_artifacts(job.name)
        if artifact.format in formats or artifact.format is ArtifactFormat.JSON
    ]
    request = re.sub(r"[^0-9A-Za-z]", "", record.request_id)[:8]
    part = shot_folder / f"{short_job(job.name)}-{PROCESS}-{request}{PART_SUFFIX}"
    others = [other for other in _parts_of(shot_folder, job.name) if other != part]
    await _fetch_files(client, artifacts, part, others, _files_by_hash(earlier), on_fraction)
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
    # This search comes after the number was chosen. It finds any take finished before, and a
    # take finished later gets the same name.
    found = _take_of(takes_of_shot(shot_folder), job.name)
    take = _use(found, part) if found else _publish(take, shot_folder)
    _remove_old(others)
    return take


def _use(found: Take, own: Path) -> Take:
    shutil.rmtree(own, ignore_errors=True)
    return found


def _publish(take: Take, shot_folder: Path) -> Take:
    """Give a take's folder its name, unless another process was faster."""
    whole = shot_folder / take_folder_name(take.number, take.job)
    try:
        os.replace(take.folder, whole)
    except OSError:
        found = _take_of(takes_of_shot(shot_folder), take.job)
        if found is None:
            raise
        return _use(found, take.folder)
    # A third process may have moved the numbers. Of two takes of a job the first stays.
    found = _take_of(takes_of_shot(shot_folder), take.job)
    if found is not None and found.folder != whole:
        return _use(found, whole)
    return load_take(whole)


def _take_of(takes: Sequence[Take], job: str) -> Take | None:
    return next((take for take in takes if take.job == job), None)


def _parts_of(shot_folder: Path, job: str) -> list[Path]:
    return sorted(shot_folder.glob(f"{short_job(job)}-*{PART_SUFFIX}"))


def _remove_old(parts: Sequence[Path]) -> None:
    """Remove the part folders of this take that no process has touched for a day."""
    for part in parts:
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > PART_LIFE_S:
                shutil.rmtree(part, ignore_errors=True)


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
    others: Sequence[Path],
    known: dict[str, Path],
    on_fraction: Callable[[float], None],
) -> None:
    check_apart(artifact.path for artifact in artifacts)
    total = sum(artifact.size_bytes for artifact in artifacts) or 1
    done = 0
    gate = asyncio.Semaphore(MOST_DOWNLOADS)

    async def fetch(artifact: Artifact) -> None:
        nonlocal done
        path = safe_path(part, artifact.path)
        async with gate:
            if not _is_whole(path, artifact):
                sources = [safe_path(other, artifact.path) for other in others]
                sources.append(known.get(artifact.sha256, path))
                if not any(_link(source, path) and _is_whole(path, artifact) for source in sources):
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


def _link(source: Path, path: Path) -> bool:
    """Put an existing file at `path` by a hard link, or by a copy where links are impossible.

    Give False for a file that is gone, as in a folder that another process has just renamed.
    """
    if source == path or not source.is_file():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        _link_or_copy(source, path)
    except FileNotFoundError:
        return False
    return True


def _link_or_copy(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
