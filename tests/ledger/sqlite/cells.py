"""Where a row lies in SQLite's file: its cell, as sqlite.org/fileformat2.html (1.6, 2.1) writes it down.

A table row is a cell of one page: the payload's length, the row's number, and the payload, which is a header (its own
length and the type of each column) and then the columns one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TABLE_LEAF, INDEX_LEAF = 13, 10
_INT_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 6: 5, 8: 6}
"""length → type"""


def varint(number: int) -> bytes:
    """Seven bits a byte, the first ones first; `number` has fewer than 57 bits."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(0x80 | number & 0x7F)
    return bytes(reversed(parts))


def column(value: Any) -> tuple[int, bytes]:
    """Type and content of one value."""
    match value:
        case None:
            return 0, b""
        case 0 | 1:
            return 8 + value, b""
        case int():
            width = next(width for width in _INT_BYTES if -(1 << 8 * width - 1) <= value < 1 << 8 * width - 1)
            return _INT_BYTES[width], value.to_bytes(width, "big", signed=True)
        case bytes():
            return 12 + 2 * len(value), value
        case str():
            data = value.encode()
            return 13 + 2 * len(data), data
    raise TypeError(value)


def cell(number: int | None, row: tuple[Any, ...]) -> tuple[bytes, list[int]]:
    """The cell of the row with that number, or of an index's entry, which has none; and where in it each column's
    content begins; at the end, where it ends."""
    columns = [column(value) for value in row]
    types = b"".join(varint(kind) for kind, _ in columns)
    header = varint(len(types) + 1) + types
    assert len(header) == len(types) + 1 < 128
    size = len(header) + sum(len(content) for _, content in columns)
    before = varint(size) + (b"" if number is None else varint(number)) + header
    begins = [len(before)]
    for _, content in columns:
        begins.append(begins[-1] + len(content))
    return before + b"".join(content for _, content in columns), begins


def cells(data: bytes) -> Iterator[int]:
    """Where the cells of all leaves of tables and indices in the file `data` begin. What else lies there is remains."""
    size = int.from_bytes(data[16:18], "big")
    for page in range(0, len(data), size):
        head = page + (0 if page else 100)
        if data[head] in (TABLE_LEAF, INDEX_LEAF):
            for at in range(int.from_bytes(data[head + 3 : head + 5], "big")):
                pointer = head + 8 + 2 * at
                yield page + int.from_bytes(data[pointer : pointer + 2], "big")
