"""Checksums of stored files, block by block, computed at publication and compared at every read.

A SHA-256 takes 0.66 ms a MiB and a CRC32 takes 0.25 (November 2026). So a file is hashed once, when
it is published, and a read compares the blocks that it sends.
"""

import hashlib
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import google_crc32c

BLOCK_BYTES = 1 << 20
"""Size of a block. The last one of a file is shorter."""
_DIGITS = 8


@dataclass(frozen=True)
class BlockSums:
    """The checksums of one block."""

    crc32c: int
    """Castagnoli."""
    crc32: int
    """The CRC32 of zlib, for clients in which CRC32C is slow."""


def sums_of(data: bytes) -> BlockSums:
    """Compute the checksums of a block or a part of it."""
    return BlockSums(int(google_crc32c.value(data)), zlib.crc32(data))


def crc32_of(data: memoryview) -> int:
    """Compute the CRC32 of a block in a buffer. CRC32C would copy the block."""
    return zlib.crc32(data)


def read_digests(file: BinaryIO) -> tuple[str, str]:
    """Read a file from its start and digest it in one go.

    Returns:
        Its SHA-256 in hexadecimal digits, and its blocks' checksums in the form of `sums_at`.
    """
    digest = hashlib.sha256()
    parts: list[str] = []
    while data := file.read(BLOCK_BYTES):
        digest.update(data)
        sums = sums_of(data)
        parts.append(f"{sums.crc32c:08x}{sums.crc32:08x}")
    return digest.hexdigest(), "".join(parts)


def sums_at(checksums: str, block_index: int) -> BlockSums | None:
    """Take one block's checksums, or None if none were stored.

    Args:
        checksums: For each block 8 hexadecimal digits of CRC32C, then 8 of CRC32.
        block_index: The block's number, from 0.
    """
    begin = 2 * _DIGITS * block_index
    digits = checksums[begin : begin + 2 * _DIGITS]
    if len(digits) < 2 * _DIGITS:
        return None
    return BlockSums(int(digits[:_DIGITS], 16), int(digits[_DIGITS:], 16))
