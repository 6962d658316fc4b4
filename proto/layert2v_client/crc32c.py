"""CRC32C (Castagnoli) by google-crc32c if it is installed, else by numpy.

Blender brings numpy but no compiled CRC, and the extension holds pure Python only. The numpy
path cuts the data into lanes, runs the byte-wise table over all lanes at once, then joins the
lanes pairwise with "append zeros" operators.
"""

from functools import lru_cache
from typing import Any

import numpy as np

try:
    import google_crc32c
except ImportError:  # not covered: only Blender lacks the compiled module.
    google_crc32c = None

POLYNOMIAL = 0x82F63B78
"""Castagnoli, bit-reversed. Source: RFC 3720, 12.1."""

_Words = np.ndarray[Any, np.dtype[np.uint32]]


def is_compiled() -> bool:
    """Whether `crc32c` takes 0.05 ms a MiB, and not 6.5."""
    return google_crc32c is not None


def crc32c(data: bytes) -> int:
    """Give the CRC32C of `data`, 0 to 2^32 - 1."""
    if google_crc32c is not None:
        return int(google_crc32c.value(data))
    return crc32c_numpy(data)


def crc32c_numpy(data: bytes) -> int:
    """Give the CRC32C of `data` with numpy alone, about 200 MB/s for a MiB."""
    lanes = 1
    while lanes < 4096 and len(data) >= lanes * 256:
        lanes *= 2
    length = -(-len(data) // lanes)
    # Zeros in front change nothing if the register starts at 0. The start value of all ones is
    # added at the end, because the CRC is linear.
    padded = np.zeros(lanes * length, np.uint8)
    padded[len(padded) - len(data) :] = np.frombuffer(data, np.uint8)
    columns = np.ascontiguousarray(padded.reshape(lanes, length).T)
    registers = np.zeros(lanes, np.uint32)
    table = _byte_table()
    for column in columns:
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> np.uint32(8))
    joined = _join(registers, length)
    start = _append_zeros(np.array([0xFFFFFFFF], np.uint32), len(data))[0]
    return int(joined ^ start ^ np.uint32(0xFFFFFFFF))


def _join(registers: _Words, length: int) -> np.uint32:
    while len(registers) > 1:
        registers = _append_zeros(registers[0::2], length) ^ registers[1::2]
        length *= 2
    return np.uint32(registers[0])


def _append_zeros(registers: _Words, num_bytes: int) -> _Words:
    """Advance registers over `num_bytes` zero bytes, by squaring."""
    power = 0
    while num_bytes:
        if num_bytes & 1:
            registers = _apply(_zeros_operator(power), registers)
        num_bytes >>= 1
        power += 1
    return registers


def _apply(operator: _Words, registers: _Words) -> _Words:
    """Multiply registers by a 32 x 32 bit matrix given as four byte tables (4, 256)."""
    result = operator[0][registers & 0xFF]
    for byte in range(1, 4):
        result = result ^ operator[byte][(registers >> np.uint32(8 * byte)) & 0xFF]
    return result


@lru_cache(maxsize=1)
def _byte_table() -> _Words:
    words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        words = np.where(words & 1, (words >> 1) ^ np.uint32(POLYNOMIAL), words >> 1)
    return words.astype(np.uint32)


@lru_cache(maxsize=64)
def _zeros_operator(power: int) -> _Words:
    """Give the byte tables (4, 256) of the operator that appends 2^power zero bytes."""
    basis = np.arange(256, dtype=np.uint32)
    words = np.stack([basis << np.uint32(8 * byte) for byte in range(4)])
    if power == 0:
        return _byte_table()[words & 0xFF] ^ (words >> np.uint32(8))
    half = _zeros_operator(power - 1)
    return _apply(half, _apply(half, words.reshape(-1))).reshape(4, 256)
