"""Read files out of a Qt resource collection (`.rcc`), as GCompris ships its photographs.

Source:
    Format written by Qt's `rcc` tool, versions 1 to 3: a header, a tree of fixed-size nodes, a
    table of names, and length-prefixed data that may be deflated or Zstandard-compressed.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

_COMPRESSED_ZLIB, _DIRECTORY, _COMPRESSED_ZSTD = 1, 2, 4


@dataclass(frozen=True)
class _Collection:
    content: bytes
    version: int
    tree: int
    data: int
    names: int

    @property
    def node_size(self) -> int:
        return 22 if self.version >= 2 else 14

    def name(self, offset: int) -> str:
        start = self.names + offset
        (length,) = struct.unpack_from(">H", self.content, start)
        return self.content[start + 6 : start + 6 + 2 * length].decode("utf-16-be")

    def payload(self, offset: int, flags: int) -> bytes:
        start = self.data + offset
        (length,) = struct.unpack_from(">I", self.content, start)
        stored = self.content[start + 4 : start + 4 + length]
        if flags & _COMPRESSED_ZSTD:
            return zstandard.ZstdDecompressor().decompressobj().decompress(stored)
        return zlib.decompress(stored[4:]) if flags & _COMPRESSED_ZLIB else stored

    def walk(self, node: int, parent: str) -> Iterator[tuple[str, bytes]]:
        start = self.tree + node * self.node_size
        name_offset, flags = struct.unpack_from(">IH", self.content, start)
        path = f"{parent}/{self.name(name_offset)}" if node else ""
        if flags & _DIRECTORY:
            count, first = struct.unpack_from(">II", self.content, start + 6)
            for child in range(first, first + count):
                yield from self.walk(child, path)
        else:
            (offset,) = struct.unpack_from(">I", self.content, start + 10)
            yield path, self.payload(offset, flags)


def read_resources(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file of a collection as (path inside it, content).

    Raises:
        ValueError: The file is not a Qt resource collection of version 1 to 3.
    """
    content = path.read_bytes()
    magic, version, tree, data, names = struct.unpack_from(">4sIIII", content)
    if magic != b"qres" or not 1 <= version <= 3:
        raise ValueError(f"{path.name} is not a Qt resource collection (magic {magic!r})")
    yield from _Collection(content, version, tree, data, names).walk(0, "")
