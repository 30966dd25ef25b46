"""Where simulated hosts lie: bricks of 0.25 deg, the splits in strips far apart.

Strips of different splits are at least 5 deg apart, so that no guard band is ever broken.

    >>> layout = lay_out("test", n_hosts=2050, hosts_per_brick=20, seed=42)
    >>> layout.brick[:2], layout.ra[:2]
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from lensjax.schema import ExitCode, LensjaxError

BRICK_DEG = 0.25
_COLUMNS = 1440  # bricks around the sky
_STRIPS = {"train": (-30.0, 100), "val": (0.0, 40), "test": (15.0, 40)}  # lowest dec, rows
_EDGE_DEG = 0.005  # hosts keep this far from a brick's edge: stamps stay in their brick


class Layout(NamedTuple):
    """One entry a host."""

    number: np.ndarray  # int64, of the brick within the split
    brick: np.ndarray  # its name, by the tenths of a degree of its centre
    ra: np.ndarray  # degrees
    dec: np.ndarray


def lay_out(split: str, n_hosts: int, hosts_per_brick: int, seed: int) -> Layout:
    """Hosts spread over as few bricks as they need, as evenly as may be.

    Raises:
        LensjaxError: exit 2 for more bricks than the split's strip has, or no hosts a brick.
    """
    south, rows = _STRIPS[split]
    if hosts_per_brick < 1 or -(-n_hosts // hosts_per_brick) > rows * _COLUMNS:
        raise LensjaxError(
            ExitCode.USAGE,
            f"{n_hosts} hosts at {hosts_per_brick} a brick do not fit the {split} strip of "
            f"{rows * _COLUMNS} bricks",
            "data.hosts_per_brick",
            "Use more hosts a brick",
        )
    n_bricks = max(1, -(-n_hosts // hosts_per_brick))
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    # shuffled: the kinds of hosts follow in turn, and no kind may have its own bricks
    number = rng.permutation(np.arange(n_hosts) % n_bricks)
    ra0 = BRICK_DEG * (number % _COLUMNS)
    dec0 = south + BRICK_DEG * (number // _COLUMNS)
    inside = rng.uniform(_EDGE_DEG, BRICK_DEG - _EDGE_DEG, (2, n_hosts))
    half = BRICK_DEG / 2
    names = [brick_name(a, d) for a, d in zip(ra0 + half, dec0 + half, strict=True)]
    return Layout(number, np.array(names), ra0 + inside[0], dec0 + inside[1])


def brick_name(ra: float, dec: float) -> str:
    """The name of the brick centred at `ra`, `dec` (degrees), as the Legacy Surveys form it."""
    return f"{int(ra * 10):04d}{'p' if dec >= 0 else 'm'}{int(abs(dec) * 10):03d}"
