"""The order of training: batch s of epoch e is computed, not iterated to.

Not an iterator: there is no state to save but the step. The rows of the epochs, each epoch a
permutation of all rows, form one endless sequence; batch s is its s-th piece of batch_size rows.
So the last partial batch of an epoch is filled from the next one, and nothing is dropped.

    >>> rows, epochs = batch_rows(seed=42, step=1000, batch_size=128, labels=labels)
"""

from __future__ import annotations

import functools

import numpy as np

from lensjax.data.permute import permutation, uniform
from lensjax.schema import ExitCode, LensjaxError

JITTER = 0.5  # of the spacing of a class: below 1 no two batches in a row can miss a class


def epoch_order(seed: int, epoch: int, labels: np.ndarray) -> np.ndarray:
    """int64 [n], read-only: the rows 0..n-1 in the order of `epoch`, for `labels` int [n] of 0
    and 1. Each class is permuted, spread evenly over the epoch with jitter, and merged."""
    return _epoch_order(seed, epoch, np.asarray(labels, np.int8).tobytes())


@functools.lru_cache(maxsize=4)  # two epochs of two callers; pure, so the cache is not state
def _epoch_order(seed: int, epoch: int, label_bytes: bytes) -> np.ndarray:
    labels = np.frombuffer(label_bytes, np.int8)
    rows, places = [], []
    for label in (0, 1):
        mine = np.flatnonzero(labels == label)
        words = ("order", seed, epoch, label)
        rows.append(mine[permutation(len(mine), *words)])
        jitter = (1 - JITTER) / 2 + JITTER * uniform(len(mine), *words, "jitter")
        places.append((np.arange(len(mine)) + jitter) / max(1, len(mine)))
    order = np.concatenate(rows)[np.argsort(np.concatenate(places), kind="stable")]
    order.setflags(write=False)
    return order


def batch_rows(
    seed: int, step: int, batch_size: int, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows int64 [batch_size] of batch `step` and the epoch int32 [batch_size] each belongs to.

    Raises LensjaxError (DATA_INVALID) for one class only, and (USAGE) for a batch size at which
    two consecutive batches might lack a class, saying which would do."""
    check_batch_size(batch_size, labels)
    n, done, rows, epochs = len(labels), 0, [], []
    while done < batch_size:
        epoch, start = divmod(step * batch_size + done, n)
        piece = epoch_order(seed, epoch, labels)[start : start + batch_size - done]
        rows.append(piece)
        epochs.append(np.full(len(piece), epoch, np.int32))
        done += len(piece)
    return np.concatenate(rows), np.concatenate(epochs)


def check_batch_size(batch_size: int, labels: np.ndarray) -> None:
    """Raises LensjaxError as `batch_rows` does; nothing if the batch size will do."""
    positives = int(np.count_nonzero(labels))
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"the manifest has {positives} positives and {negatives} negatives",
            where="training order",
            remedy="Training needs both classes",
        )
    needed = _batch_size_needed(min(positives, negatives), max(positives, negatives))
    if batch_size < needed:
        raise LensjaxError(
            ExitCode.USAGE,
            f"two consecutive batches of {batch_size} may lack a class "
            f"({positives} positives, {negatives} negatives)",
            where="batch_size",
            remedy=f"Use a batch size of at least {needed}",
        )


def _batch_size_needed(rare: int, common: int) -> int:
    """Smallest batch size b such that 2 b rows in a row always hold the rarer class.

    Neighbours of the rarer class are under (1 + JITTER) / rare of an epoch apart, within an epoch
    and across its end; that span holds at most this many of the commoner class."""
    longest_run = int((1 + JITTER) * common / rare + JITTER) + 1
    return (longest_run + 2) // 2


def steps_in(epochs: int, n: int, batch_size: int) -> int:
    """Steps that cover `epochs` epochs of n rows: the last may reach into the next epoch."""
    return -(-epochs * n // batch_size)
