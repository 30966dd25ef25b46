"""Mutations of CSV and JSON text: fields, delimiters, quotes, encodings, depth, terminal escapes.

Not of a schema: words that readers know (column names, keys) come from the text itself.

    >>> csv_mutated(random.Random("0 17"), text, others=[text])
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from tests.fuzz import mutate

ESCAPES = ("\x1b[2J\x1b[31m", "\x1b]0;title\x07", "\r\x1b[K", "\x9b31m", "a\nb", "\u202ereversed")
NUMBERS = (
    *("nan", "NaN", "inf", "-inf", "1e999", "-1e308", "1e-400", "-0", "-1", "360.0001", "0x10"),
    *("1_0", "１２", "1,5", "--1", "9" * 400, "1e", "true", "1" * 20, "0.1" + "0" * 300),
)
WORDS = (
    *("", " ", "null", "None", "../../etc/passwd", "/etc/passwd", "C:\\x", "file:///etc/passwd"),
    *("s3://bucket/x", "http://127.0.0.1/x", "~/x", "=cmd|'/c calc'!A0", "{band}{band}", "%s%n"),
    *("__import__('os').getcwd()", "!!python/object/apply:os.getcwd []", "\ufeff", "\0", "🦄" * 40),
    *("x" * 300, "y" * 5000, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
    *ESCAPES,
)


def csv_mutated(rng: random.Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """A CSV text with some things wrong."""
    if rng.random() < 0.2:
        return mutate.mutated(rng, text, others)
    made = text
    for _ in range(mutate.how_many(rng)):
        made = rng.choice(_CSV)(rng, made, others)
    return made[: 2**24]


def _lines(text: bytes) -> list[list[bytes]]:
    return [line.split(b",") for line in text.split(b"\n")]


def _joined(lines: list[list[bytes]]) -> bytes:
    return b"\n".join(b",".join(fields) for fields in lines)


def _encoded(word: str) -> bytes:
    return word.encode("utf-8", "surrogatepass")


def _field(rng: random.Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """A field, or a whole column of a short table, replaced."""
    del others
    lines = _lines(text)
    word = _encoded(rng.choice((rng.choice(NUMBERS), rng.choice(WORDS))))
    if rng.random() < 0.3:
        word = b'"' + word.replace(b'"', b'""') + b'"'
    line = rng.choice(lines)
    k = rng.randrange(len(line))
    for other in lines[1:6] if rng.random() < 0.3 else [line]:
        if k < len(other):
            other[k] = word
    return _joined(lines)


def _shape(rng: random.Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """Lines and columns dropped, doubled, exchanged or taken from another table."""
    lines, other = _lines(text), _lines(rng.choice(others))
    kind = rng.randrange(6)
    if kind == 0:
        del lines[rng.randrange(len(lines))]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines)), list(rng.choice(other)))
    elif kind == 2:
        k = rng.randrange(len(lines[0] if lines else [b""]))
        lines = [[*line[:k], *line[k + 1 :]] for line in lines]
    elif kind == 3 and lines:
        lines[0] += [rng.choice(lines[0])]  # a name twice
    elif kind == 4:
        lines += [list(rng.choice(lines or [[b""]])) for _ in range(rng.choice((1, 100, 3000)))]
    else:
        rng.shuffle(lines)
    return _joined(lines)


def _marks(rng: random.Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """Delimiters, quotes, ends of lines, marks of encodings."""
    del others
    kind = rng.randrange(7)
    if kind == 0:
        return text.replace(b",", rng.choice((b";", b"\t", b",,", b" , ")), rng.choice((1, -1)))
    if kind == 1:
        return text.replace(b"\n", rng.choice((b"\r", b"\r\n", b"\n\n", b"\0", b"\x0b", b"")), -1)
    if kind == 2:
        at = mutate.place(rng, text, ())
        return text[:at] + rng.choice((b'"', b"'", b'""', b'"\n', b"\0", b"\xff")) + text[at:]
    if kind == 3:
        return rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\n\n", b"#")) + text
    if kind == 4:
        return text.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-7")))
    if kind == 5:
        return text + b"," * rng.choice((1, 300, 100_000))
    at = mutate.place(rng, text, ())
    return text[:at] + rng.choice((b"x", b",", b'"', b"1")) * 200_000 + text[at:]


_CSV = (_field, _field, _field, _shape, _marks)


def json_mutated(rng: random.Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """A JSON text with some things wrong in its tree, in its text, or in both."""
    if rng.random() < 0.25:
        return mutate.mutated(rng, text, others)
    tree = json.loads(text)
    for _ in range(mutate.how_many(rng)):
        tree = _tree(rng, tree)
    made = json.dumps(tree, ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")
    kind = rng.random()
    if kind < 0.08 and b'": ' in made:  # a key twice
        at = made.find(b'"')
        made = made[:at] + b'"name": 1, ' * rng.choice((1, 2)) + made[at:]
    elif kind < 0.14:
        depth = rng.choice((50, 2000, 200_000))
        nest = rng.choice((b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth))
        made = made.replace(b"1", nest, 1)
    elif kind < 0.18:
        made = made.replace(b"0", b"9" * rng.choice((400, 5000)), 1)
    elif kind < 0.26:
        made = _marks(rng, made, others)
    return made


def _tree(rng: random.Random, tree: Any) -> Any:
    """`tree` with one node replaced, dropped, doubled or renamed."""
    nodes = list(_containers(tree))
    if not nodes or rng.random() < 0.05:
        return _value(rng)
    node = rng.choice(nodes)
    if isinstance(node, list):
        k = rng.randrange(len(node))
        kind = rng.randrange(3)
        if kind == 0:
            node[k] = _value(rng)
        elif kind == 1:
            del node[k]
        else:
            node += [node[k]] * rng.choice((1, 1000))
        return tree
    key = rng.choice(list(node))
    kind = rng.randrange(5)
    if kind < 2:
        node[key] = _value(rng)
    elif kind == 2:
        del node[key]
    elif kind == 3:
        node[rng.choice((*WORDS, key.upper(), key + "_"))] = node.pop(key)
    else:
        node[rng.choice(WORDS)] = _value(rng)
    return tree


def _containers(tree: Any):
    if isinstance(tree, (dict, list)) and tree:
        yield tree
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _containers(value)


def _value(rng: random.Random) -> Any:
    numbers = (0, -1, 1, 2**31, 2**63, -(2**63), 2**70, 1e308, -0.0, 1e-320, 0.5)
    odd = (float("nan"), float("inf"), None, True, False, [], {}, [[]], {"": {}}, "a" * 64)
    return rng.choice((rng.choice(numbers), rng.choice(odd), rng.choice(WORDS)))
