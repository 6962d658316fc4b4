"""Builds messages of `ReadArtifact` from stored files on threads, one block ahead.

The messages are built by hand, because a protobuf message of a MiB copies it twice more. Blocks are
read into one buffer, because new memory for each block cost 0.7 ms a MiB (November 2026).
"""

import asyncio
import struct
from collections.abc import AsyncGenerator
from io import RawIOBase
from pathlib import Path

from layert2v_backend.checksums import BLOCK_BYTES, BlockSums, crc32_of, sums_at, sums_of
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
        DataLoss: The file is missing, unreadable or too short, or a block has changed.
        OSError: The system has no open files or memory left at the moment.
    """
    try:
        file = await asyncio.to_thread(path.open, "rb", buffering=0)
    except OSError as failure:
        if is_scarce(failure):
            raise
        raise lost(artifact, f"cannot be opened ({words_of(failure)})") from failure
    with file:
        loop = asyncio.get_running_loop()
        blocks = _Blocks(file, artifact)
        building: asyncio.Future[bytes] | None = None
        try:
            while offset < artifact.size_bytes:
                if building is None:
                    building = loop.run_in_executor(None, blocks.message, offset)
                message = await asyncio.shield(building)
                offset = blocks.end_of(offset)
                building = None
                if offset < artifact.size_bytes:
                    building = loop.run_in_executor(None, blocks.message, offset)
                yield message
        finally:
            # The file stays open until no thread reads it any more.
            if building is not None:
                await asyncio.gather(building, return_exceptions=True)


class _Blocks:
    """One open file, read block by block. Only one thread at a time may use it."""

    def __init__(self, file: RawIOBase, artifact: Artifact) -> None:
        self._file, self._artifact = file, artifact
        self._buffer = bytearray(min(BLOCK_BYTES, artifact.size_bytes))

    def end_of(self, offset: int) -> int:
        """Give the end of the block that holds `offset`."""
        return min((offset // BLOCK_BYTES + 1) * BLOCK_BYTES, self._artifact.size_bytes)

    def message(self, offset: int) -> bytes:
        """Read the block that holds `offset`, and build a message of its bytes from there."""
        block_index, skipped = divmod(offset, BLOCK_BYTES)
        num_bytes = self.end_of(offset) - block_index * BLOCK_BYTES
        block = memoryview(self._buffer)[:num_bytes]
        self._read(block_index * BLOCK_BYTES, block)
        stored = sums_at(self._artifact.checksums, block_index)
        if stored is not None and stored.crc32 != crc32_of(block):
            raise lost(self._artifact, "does not match the checksums of its publication")
        if skipped or stored is None:
            block = block[skipped:]
            stored = sums_of(bytes(block))
        return chunk_message(offset, block, stored)

    def _read(self, begin: int, block: memoryview) -> None:
        try:
            self._file.seek(begin)
            while block and (num_read := self._file.readinto(block)):
                block = block[num_read:]
        except OSError as failure:
            raise lost(self._artifact, f"cannot be read ({words_of(failure)})") from failure
        if block:
            raise lost(self._artifact, f"is shorter than its {self._artifact.size_bytes} bytes")


def chunk_message(offset: int, data: bytes | memoryview, sums: BlockSums) -> bytes:
    """Serialize a `ReadArtifactResponse` with one chunk."""
    head = b"".join((_OFFSET, _varint(offset), _DATA, _varint(len(data))))
    tail = _CRC32C + struct.pack("<I", sums.crc32c) + _CRC32 + struct.pack("<I", sums.crc32)
    length = _varint(len(head) + len(data) + len(tail))
    return b"".join((_CHUNK, length, head, data, tail))


def _varint(number: int) -> bytes:
    """Write a number as protobuf does, in seven bits a byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def lost(artifact: Artifact, what: str) -> DataLoss:
    """Say that a stored file differs from its publication."""
    return DataLoss(f"the stored file of {artifact.path} {what}: generate the take again")
