"""Reading artifacts: chunks checked on the way, files resumed, checked and put in place whole."""

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from layert2v_client.artifact import Artifact
from layert2v_client.crc32c import crc32c
from layert2v_client.errors import BackendUnreachable, DamagedArtifact, LocalDiskFull

PART_SUFFIX = ".part"
"""What a file is called until it is whole."""
MOST_LOST_LINKS = 5
"""How often in a row the link may be lost without a byte before a download gives up."""
RETRY_DELAY_S = 0.2
"""Delay after the first lost link; it doubles from there."""


class ReadArtifact(Protocol):
    """Reads an artifact's bytes from an offset; `Client.read_artifact`."""

    def __call__(
        self, name: str, offset: int = 0, *, if_sha256: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """Read from `offset`."""


async def checked_chunks(
    name: str, replies: AsyncIterator[Any], offset: int
) -> AsyncGenerator[bytes, None]:
    """Yield the data of `ReadArtifact` replies, each chunk checked by place and CRC32C.

    Raises:
        DamagedArtifact: A chunk is damaged or misplaced, or the stream ended too early.
    """
    expected_size = -1
    async for reply in replies:
        part = reply.WhichOneof("part")
        if part == "chunk":
            chunk = reply.chunk
            if chunk.offset != offset or crc32c(chunk.data) != chunk.crc32c:
                raise DamagedArtifact(f"{name} arrived damaged at byte {offset}.")
            offset += len(chunk.data)
            yield chunk.data
        elif part == "trailer":
            expected_size = reply.trailer.size_bytes
    if expected_size != offset:
        raise DamagedArtifact(f"{name} ended at byte {offset} of {max(expected_size, 0)}.")


async def download(
    read: ReadArtifact,
    artifact: Artifact,
    path: Path,
    on_bytes: Callable[[int], None] | None,
) -> None:
    """Write an artifact to `path`; see `Client.download`."""
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists() and part.stat().st_size > 0
        try:
            await _fill(read, artifact, part, on_bytes)
        except DamagedArtifact:
            part.unlink(missing_ok=True)
            if not resumed:
                raise
            # The bytes left by an earlier attempt may be the damaged ones: once more, from 0.
            await _fill(read, artifact, part, on_bytes)
    except (OSError, DamagedArtifact) as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LocalDiskFull(
                f"No space left for {artifact.size_bytes} bytes in {path.parent}."
            ) from None
        raise
    os.replace(part, path)


async def _fill(
    read: ReadArtifact,
    artifact: Artifact,
    part: Path,
    on_bytes: Callable[[int], None] | None,
) -> None:
    digest = hashlib.sha256()
    if part.exists() and part.stat().st_size > artifact.size_bytes:
        part.unlink()
    with part.open("ab+") as file:
        file.seek(0)
        while block := file.read(1 << 20):
            digest.update(block)
        await _append(read, artifact, file, digest, on_bytes)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != artifact.sha256:
        raise DamagedArtifact(f"{artifact.path} does not match its SHA-256 {artifact.sha256}.")


async def _append(
    read: ReadArtifact,
    artifact: Artifact,
    file: BinaryIO,
    digest: Any,
    on_bytes: Callable[[int], None] | None,
) -> None:
    """Append the rest of the artifact, resuming when the link is lost."""
    num_lost = 0
    while file.tell() < artifact.size_bytes:
        try:
            async with aclosing(
                read(artifact.name, file.tell(), if_sha256=artifact.sha256)
            ) as chunks:
                async for data in chunks:
                    file.write(data)
                    digest.update(data)
                    num_lost = 0
                    if on_bytes:
                        on_bytes(len(data))
        except BackendUnreachable:
            num_lost += 1
            if num_lost >= MOST_LOST_LINKS:
                raise
            await asyncio.sleep(RETRY_DELAY_S * 2**num_lost)
