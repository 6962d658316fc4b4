"""Stored files as ready messages of `ReadArtifact`: built on threads, one block ahead.

The messages are put together by hand, because a protobuf message of a MiB copies it twice more.
"""

import asyncio
import struct
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from layert2v_backend.checksums import BLOCK_BYTES, BlockSums, crc32c_of, sums_at, sums_of
from layert2v_backend.errors import DataLoss, is_scarce, words_of
from layert2v_backend.jobs import Artifact

_CHUNK, _OFFSET, _DATA, _CRC32C, _CRC32 = b"\x12", b"\x08", b"\x12", b"\x1d", b"\x25"
"""Tags of `ReadArtifactResponse.chunk` and of the fields of `ReadArtifactChunk`."""


async def chunk_messages(
    path: Path, artifact: Artifact, offset: int
) -> AsyncGenerator[bytes, None]:
    """Yield the content from `offset` as serialized `ReadArtifactResponse`s.

    Chunks end where blocks end. Each block is compared with the checksums of its publication
    before any of it is sent, and no other block is read.

    Raises:
        DataLoss: The file is missing, cannot be read, is too short, or a block has changed.
        OSError: There are no open files or memory to spare just now.
    """
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as failure:
        if is_scarce(failure):
            raise
        raise lost(artifact, f"cannot be opened ({words_of(failure)})") from failure
    with file:
        loop = asyncio.get_running_loop()
        building: asyncio.Future[bytes] | None = None
        try:
            while offset < artifact.size_bytes:
                if building is None:
                    building = loop.run_in_executor(None, _message, file, artifact, offset)
                message = await asyncio.shield(building)
                offset = _end_of_block(offset, artifact)
                building = None
                if offset < artifact.size_bytes:
                    building = loop.run_in_executor(None, _message, file, artifact, offset)
                yield message
        finally:
            # The file stays open until no thread reads it any more.
            if building is not None:
                await asyncio.gather(building, return_exceptions=True)


def _end_of_block(offset: int, artifact: Artifact) -> int:
    return min((offset // BLOCK_BYTES + 1) * BLOCK_BYTES, artifact.size_bytes)


def _message(file: BinaryIO, artifact: Artifact, offset: int) -> bytes:
    """Read the block that holds `offset`, and build the message of what follows in it."""
    block_index, skipped = divmod(offset, BLOCK_BYTES)
    num_bytes = _end_of_block(offset, artifact) - (offset - skipped)
    try:
        file.seek(block_index * BLOCK_BYTES)
        data = file.read(num_bytes)
    except OSError as failure:
        raise lost(artifact, f"cannot be read ({words_of(failure)})") from failure
    if len(data) != num_bytes:
        raise lost(artifact, f"is shorter than its {artifact.size_bytes} bytes")
    sums = _checked(data, artifact, block_index)
    if skipped:
        data = data[skipped:]
        sums = sums_of(data)
    return chunk_message(offset, data, sums)


def _checked(data: bytes, artifact: Artifact, block_index: int) -> BlockSums:
    """The checksums of a block; its stored ones, where it has them, must agree."""
    stored = sums_at(artifact.checksums, block_index)
    if stored is None:
        return sums_of(data)
    if stored.crc32c != crc32c_of(data):
        raise lost(artifact, "does not match the checksums of its publication")
    return stored


def chunk_message(offset: int, data: bytes, sums: BlockSums) -> bytes:
    """Serialize a `ReadArtifactResponse` with one chunk."""
    head = b"".join((_OFFSET, _varint(offset), _DATA, _varint(len(data))))
    tail = _CRC32C + struct.pack("<I", sums.crc32c) + _CRC32 + struct.pack("<I", sums.crc32)
    length = _varint(len(head) + len(data) + len(tail))
    return b"".join((_CHUNK, length, head, data, tail))


def _varint(number: int) -> bytes:
    """Write a number as protobuf does: seven bits a byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def lost(artifact: Artifact, what: str) -> DataLoss:
    """Say that a stored file is not what was published."""
    return DataLoss(f"the stored file of {artifact.path} {what}: generate the take again")
