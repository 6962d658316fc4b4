"""Reads artifacts. It checks every chunk, resumes files and puts them in place whole."""

import asyncio
import errno
import hashlib
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from layert2v_client.artifact import Artifact
from layert2v_client.crc32c import crc32c, is_compiled
from layert2v_client.errors import BackendUnreachable, DamagedArtifact, LocalDiskFull

PART_SUFFIX = ".part"
"""The suffix of a file until it is complete."""
MOST_LOST_LINKS = 5
"""A download fails if the link is lost this many times in a row without a byte."""
RETRY_DELAY_S = 0.2
"""Delay after the first lost link. Each later delay is twice as long."""


class ReadArtifact(Protocol):
    """Reads an artifact's bytes from an offset, as `Client.read_artifact` does."""

    def __call__(
        self, name: str, offset: int = 0, *, if_sha256: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """Read from `offset`."""


async def checked_chunks(
    name: str, replies: AsyncIterator[Any], offset: int
) -> AsyncGenerator[bytes, None]:
    """Yield the data of `ReadArtifact` replies, and check each chunk's place and CRC32C.

    Raises:
        DamagedArtifact: A chunk is damaged or misplaced, or the stream ended too early.
    """
    expected_size = -1
    async for reply in replies:
        part = reply.WhichOneof("part")
        if part == "chunk":
            chunk, data = reply.chunk, reply.chunk.data
            if chunk.offset != offset or not _is_whole(chunk, data):
                raise DamagedArtifact(f"{name} arrived damaged at byte {offset}.")
            offset += len(data)
            yield data
        elif part == "trailer":
            expected_size = reply.trailer.size_bytes
    if expected_size != offset:
        raise DamagedArtifact(f"{name} ended at byte {offset} of {max(expected_size, 0)}.")


def _is_whole(chunk: Any, data: bytes) -> bool:
    """Compare a chunk with the checksum that is faster here."""
    if not is_compiled() and chunk.HasField("crc32"):
        return zlib.crc32(data) == int(chunk.crc32)
    return crc32c(data) == int(chunk.crc32c)


async def download(
    read: ReadArtifact,
    artifact: Artifact,
    path: Path,
    on_bytes: Callable[[int], None] | None,
) -> None:
    """Write an artifact to `path`. See `Client.download`."""
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
            # The bytes of an earlier attempt may be damaged, so this tries once more from 0.
            await _fill(read, artifact, part, on_bytes)
    except (OSError, DamagedArtifact) as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LocalDiskFull(
                f"The disk has no space left for {artifact.size_bytes} bytes in {path.parent}."
            ) from None
        raise
    os.replace(part, path)


async def _fill(
    read: ReadArtifact,
    artifact: Artifact,
    part: Path,
    on_bytes: Callable[[int], None] | None,
) -> None:
    if part.exists() and part.stat().st_size > artifact.size_bytes:
        part.unlink()
    with part.open("ab+") as file:
        sink = _Sink(file)
        await asyncio.to_thread(sink.read_start)
        await _append(read, artifact, sink, on_bytes)
        file.flush()
        os.fsync(file.fileno())
    if sink.digest.hexdigest() != artifact.sha256:
        raise DamagedArtifact(f"{artifact.path} does not match its SHA-256 {artifact.sha256}.")


class _Sink:
    """Writes and hashes on a thread while the next chunk is on its way."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self.num_bytes = 0
        """Number of bytes received. The last of them may not be written yet."""
        self._file = file
        self._writing: asyncio.Future[None] | None = None

    def read_start(self) -> None:
        """Read the bytes of an earlier attempt."""
        self._file.seek(0)
        while block := self._file.read(1 << 20):
            self.digest.update(block)
            self.num_bytes += len(block)

    async def take(self, data: bytes) -> None:
        """Append data. At most one chunk waits.

        Raises:
            OSError: The previous chunk could not be written.
        """
        await self.settle()
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, data)
        self.num_bytes += len(data)

    async def settle(self) -> None:
        """Wait until everything is written.

        Raises:
            OSError: The data could not be written.
        """
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._writing = None

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)


async def _append(
    read: ReadArtifact,
    artifact: Artifact,
    sink: _Sink,
    on_bytes: Callable[[int], None] | None,
) -> None:
    """Append the rest of the artifact, and resume when the link is lost."""
    num_lost = 0
    try:
        while sink.num_bytes < artifact.size_bytes:
            try:
                async with aclosing(
                    read(artifact.name, sink.num_bytes, if_sha256=artifact.sha256)
                ) as chunks:
                    async for data in chunks:
                        await sink.take(data)
                        num_lost = 0
                        if on_bytes:
                            on_bytes(len(data))
            except BackendUnreachable:
                num_lost += 1
                if num_lost >= MOST_LOST_LINKS:
                    raise
                await asyncio.sleep(RETRY_DELAY_S * 2**num_lost)
    finally:
        # The file stays open until no thread writes it any more.
        await sink.settle()
