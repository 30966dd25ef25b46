"""The embedded default data: one split of pairs and look-alikes, as columns and stamps.

Not a cache and not validated here (lensjax.data does both). Every host is a function of (seed,
split, its number): the set is the same however it is cut into calls.

    >>> columns, stamps = simulate_split("test", seed=42, n_pairs=8, n_lookalikes=4,
    ...                                  theta_e=(1.5, 2.5), arc_snr=(8.0, 50.0))
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError
from lensjax.simulate import psf, scene
from lensjax.simulate.population import DEPTH_BIN_EDGES, PSF_BIN_EDGES, SEEING_RANGE, SEEING_RATIO
from lensjax.simulate.sky import Layout, lay_out

CHUNK = 16  # hosts a call: on a CPU their pixels stay in a core's cache
CHUNK_ACCELERATOR = 1024
MOST_THETA_E = 3.0  # arcsec; arcs of wider lenses reach the edge of the fine grid
_ARC = ("theta_e", "arc_snr", "arc_snr_shot")  # what a stamp without an arc does not have
Columns = dict[str, np.ndarray]


def simulate_split(
    split: str,
    *,
    seed: int,
    n_pairs: int,
    n_lookalikes: int,
    theta_e: tuple[float, float],
    arc_snr: tuple[float, float],
    hosts_per_brick: int = 20,
    progress: Callable[[int], Any] | None = None,
) -> tuple[Columns, np.ndarray]:
    """Columns (schema.TABLE_COLUMNS, n rows) and stamps float32 [n, 64, 64, 3], nanomaggies, with
    n = 2 n_pairs + n_lookalikes; look-alikes of each kind in turn.

    theta_e: Einstein radii, uniform between the two, arcsec. arc_snr: integrated signal to noise in
    r, log-uniform. progress: called with the number of hosts done.

    Raises:
        LensjaxError: exit 2 for a population that cannot be, or more bricks than the sky has.
    """
    _refuse_population(theta_e, arc_snr)
    psf.refuse_wide_psf(SEEING_RANGE[1] * SEEING_RATIO.max() * 1.1)
    layout = lay_out(split, n_pairs + n_lookalikes, hosts_per_brick, seed)
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(split.encode()))
    draw = _Draw(jax.random.split(root, 3), layout)
    spans = [jnp.asarray(span, jnp.float32) for span in (theta_e, arc_snr)]

    def pair(field: scene.Field, keys: jax.Array) -> dict[str, Any]:
        arc, control = scene.arcs(keys, field, *spans), scene.stamps(field)
        shot = scene.arc_snrs_shot(arc.light, field)
        known = {"theta_e": arc.theta_e, "arc_snr": arc.arc_snr, "arc_snr_shot": shot}
        return {"stamp": control + arc.light, "control": control, **known}

    def lookalike(field: scene.Field, keys: jax.Array, kind: int) -> dict[str, Any]:
        return {"stamp": scene.stamps(field) + scene.lookalikes(kind, keys, field, *spans)}

    stamps = np.empty((2 * n_pairs + n_lookalikes, *schema.STAMP_SHAPE), np.float32)
    hosts = np.arange(n_pairs)
    made = draw(hosts, pair, progress)
    stamps[:n_pairs], stamps[n_pairs : 2 * n_pairs] = made.pop("stamp"), made.pop("control")
    groups = [_Group("", hosts, made), _Group("control", hosts, {**made, **_no_arc(n_pairs)})]
    start = 2 * n_pairs
    for k, kind in enumerate(schema.LOOKALIKES):
        hosts = n_pairs + np.arange(k, n_lookalikes, len(schema.LOOKALIKES))
        made = draw(hosts, functools.partial(lookalike, kind=k), progress)
        stamps[start : start + len(hosts)] = made.pop("stamp")
        start += len(hosts)
        groups.append(_Group(kind, hosts, {**made, **_no_arc(len(hosts))}))
    return _columns(split, layout, groups), stamps


class _Group(NamedTuple):
    """Rows of one kind: their hosts' numbers, and what was drawn for each."""

    kind: str
    host: np.ndarray
    drawn: Columns


class _Draw(NamedTuple):
    """The hosts of a split, in calls of one size, the last one padded. keys: roots of bricks, of
    hosts, and of what hosts are made into."""

    keys: jax.Array
    layout: Layout

    def __call__(self, numbers: np.ndarray, make, progress) -> Columns:
        """`make(field, keys)` and the sky of the hosts `numbers`, each an array [n, ...]."""
        size = CHUNK if jax.default_backend() == "cpu" else CHUNK_ACCELERATOR
        brick_key, host_key, extra_key = self.keys
        parts = []
        for start in range(0, max(len(numbers), 1), size):
            mine = numbers[start : start + size]
            padded = np.resize(mine, size) if len(mine) else np.zeros(size, np.int64)
            field = scene.fields(
                _fold(brick_key, self.layout.number[padded].astype(np.uint32)),
                _fold(host_key, padded.astype(np.uint32)),
            )
            made = make(field, _fold(extra_key, padded.astype(np.uint32)))
            made |= {"fwhm": field.sky.fwhm, "depth": field.sky.depth, "ebv": field.sky.ebv}
            parts.append({name: np.asarray(value)[: len(mine)] for name, value in made.items()})
            if progress is not None:
                progress(len(mine))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


_fold = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))


def _columns(split: str, layout: Layout, groups: Sequence[_Group]) -> Columns:
    host = np.concatenate([group.host for group in groups])
    kind = np.concatenate([np.repeat(group.kind, len(group.host)) for group in groups])
    n, r = len(host), schema.R_BAND
    drawn = {
        name: np.concatenate([group.drawn[name] for group in groups])
        for name in (*_ARC, "fwhm", "depth", "ebv")
    }
    seeing, depth = drawn["fwhm"][:, r], drawn["depth"][:, r]
    lens, lookalike = kind == "", np.isin(kind, schema.LOOKALIKES)
    pair = np.array([f"{split}-{i:07d}" for i in host], dtype=str)
    suffix = np.where(lens, "-arc", np.where(lookalike, "-look", "-ctrl"))
    return {
        "stamp_id": np.char.add(pair, suffix),
        "pair_id": pair,
        "lrg_id": pair,
        "brick": layout.brick[host],
        "ra": layout.ra[host],
        "dec": layout.dec[host],
        "split": np.repeat(split, n),
        "label": lens.astype(np.int8),
        "negative_kind": kind,
        "theta_e_arcsec": drawn["theta_e"],
        "arc_snr": drawn["arc_snr"],
        "arc_snr_shot": drawn["arc_snr_shot"],
        "psf_fwhm_arcsec": seeing,
        "psf_depth": depth,
        "psf_bin": np.searchsorted(PSF_BIN_EDGES, seeing),
        "depth_bin": np.searchsorted(DEPTH_BIN_EDGES, depth),
        "ebv": drawn["ebv"],
        "pixel_scale_arcsec": np.full(n, schema.PIXEL_SCALE_ARCSEC, np.float32),
        "source_file": np.repeat("simulated", n),
        "source_row": np.arange(n),
    }


def _no_arc(n: int) -> Columns:
    return {name: np.full(n, np.nan, np.float32) for name in _ARC}


def _refuse_population(theta_e: tuple[float, float], arc_snr: tuple[float, float]) -> None:
    limits = {"theta_e": (theta_e, MOST_THETA_E, "arcsec"), "arc_snr": (arc_snr, 1e4, "")}
    for name, ((low, high), most, unit) in limits.items():
        if not 0 < low <= high <= most:
            raise LensjaxError(
                ExitCode.USAGE,
                f"({low}, {high}) is not a span within 0 and {most:g} {unit}".rstrip(),
                f"population.{name}",
                f"Give two rising numbers, as in --config.population.{name}='(1.5, 2.5)'",
            )
