"""Thrift's compact protocol, read into a tree and written again: for mutations of Parquet headers.

Not lensjax's own reading of it, which keeps what it needs of page headers alone.

    >>> tree, end = read_struct(data, 0)
    >>> write_struct(tree) == data[:end]
    True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


@dataclass
class Field:
    """A field of a struct, or (with id 0) an entry of a list. `value`: int, bytes, a list of Fields
    (a struct's), or a Listed."""

    id: int
    kind: int
    value: Any


@dataclass
class Listed:
    """A list: the kind of its entries, their number as it is written, and the entries."""

    kind: int
    count: int
    entries: list[Field]


def read_struct(data: bytes, at: int) -> tuple[list[Field], int]:
    """The fields of the struct at byte `at`, and the byte after it."""
    fields, number = [], 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            value, at = _read_varint(data, at)
            number = _unzigzag(value)
        value, at = _read(data, at, head & 15)
        fields.append(Field(number, head & 15, value))
    return fields, at + 1


def _read(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return None, at
    if kind == BYTE:
        return data[at], at + 1
    if kind in (I16, I32, I64):
        value, at = _read_varint(data, at)
        return _unzigzag(value), at
    if kind == DOUBLE:
        return data[at : at + 8], at + 8
    if kind == BINARY:
        length, at = _read_varint(data, at)
        return data[at : at + length], at + length
    if kind == STRUCT:
        return read_struct(data, at)
    assert kind in (LIST, SET), f"a field of kind {kind}"
    head, at = data[at], at + 1
    count = head >> 4
    if count == 15:
        count, at = _read_varint(data, at)
    entries = []
    for _ in range(count):
        if head & 15 in (TRUE, FALSE):  # in a list a byte each
            value, at = data[at], at + 1
        else:
            value, at = _read(data, at, head & 15)
        entries.append(Field(0, head & 15, value))
    return Listed(head & 15, count, entries), at


def write_struct(fields: list[Field]) -> bytes:
    """The bytes of a struct."""
    made, number = bytearray(), 0
    for field in fields:
        step = field.id - number
        if 1 <= step <= 15:
            made.append(step << 4 | field.kind)
        else:
            made += bytes([field.kind]) + varint(_zigzag(field.id))
        number = field.id
        made += _write(field)
    return bytes(made) + b"\0"


def _write(field: Field) -> bytes:
    kind, value = field.kind, field.value
    if kind in (TRUE, FALSE):
        return b""
    if kind == BYTE:
        return bytes([value % 256])
    if kind in (I16, I32, I64):
        return varint(_zigzag(value))
    if kind == DOUBLE:
        return value
    if kind == BINARY:
        return varint(len(value)) + value
    if kind == STRUCT:
        return write_struct(value)
    head = value.count << 4 | value.kind if value.count < 15 else 0xF0 | value.kind
    made = bytearray([head]) + (b"" if value.count < 15 else varint(value.count))
    for entry in value.entries:
        made += bytes([entry.value]) if entry.kind in (TRUE, FALSE) else _write(entry)
    return bytes(made)


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes(made) + bytes([value])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _zigzag(value: int) -> int:
    return (value << 1 if value >= 0 else -value * 2 - 1) % 2**64


def _unzigzag(value: int) -> int:
    return value >> 1 ^ -(value & 1)


def get(fields: list[Field], number: int) -> Any:
    """The value of a field, None without."""
    return next((field.value for field in fields if field.id == number), None)


def walk(fields: list[Field]) -> list[tuple[list[Field], int]]:
    """Every field of a tree, as the list that holds it and its index there."""
    found = []
    for k, field in enumerate(fields):
        found.append((fields, k))
        if field.kind == STRUCT:
            found += walk(field.value)
        elif field.kind in (LIST, SET):
            found += walk(field.value.entries)
    return found
