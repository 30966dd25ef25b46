"""Permutations that are the same for ever: of a name and a seed, not of a library's version.

Not numpy's Generator.permutation, whose stream may change between versions: Philox's raw 64-bit
numbers are fixed (Salmon et al. 2011, the paper's counter-based generator), and a stable sort of
them is too.

    >>> order = permutation(10, "manifest", 42)
"""

from __future__ import annotations

import hashlib

import numpy as np


def raw(n: int, *words: object) -> np.ndarray:
    """uint64 [n], uniform, a function of `words` (their text) alone."""
    text = "\x1f".join(map(str, words)).encode()
    key = np.frombuffer(hashlib.sha256(text).digest()[:16], "<u8").astype(np.uint64)
    return np.asarray(np.random.Philox(key=key).random_raw(n), np.uint64).reshape(n)


def permutation(n: int, *words: object) -> np.ndarray:
    """int64 [n], a permutation of range(n), a function of n and `words` alone."""
    return np.argsort(raw(n, *words), kind="stable").astype(np.int64)


def uniform(n: int, *words: object) -> np.ndarray:
    """float64 [n] in [0, 1), a function of `words` alone."""
    return (raw(n, *words) >> np.uint64(11)) * 2.0**-53
