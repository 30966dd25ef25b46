"""Is one fault in 100,000 rows found? Each trial plants one of each kind at random places.

Kinds: a brick of train in test; a stamp and control copied to another host's row, as they are, or
turned; one NaN pixel; stamp and control exchanged. A trial counts a kind as found if phase 0 names
exactly its rows; any finding beyond those planted is a false alarm. A trial reads again the files
that it changed: results of unchanged pieces are kept from the first, whole scan (the same function
makes both), everything else is done anew by the production code. Then clean sets, each of another
seed.

    python benchmarks/found_faults.py --rows 100000 --trials 100 --clean 100 --clean-rows 10000 \\
        --folder /tmp/found
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import beta

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synthetic_rows import make_set, pack, write_columns

from lensjax import gates, schema
from lensjax.checks import scan as scan_module
from lensjax.checks.run import run_checks
from lensjax.checks.workers import run_tasks
from lensjax.data.files import FileSource
from lensjax.data.parquet import ParquetFormat

PROTOCOL = gates.load_protocol("configs/protocols/default.json")
KINDS = ("leaked brick", "copied pair", "turned copy", "NaN pixel", "exchanged pair")
ROWS_PER_FILE = 500


class KeptResults:
    """`run_tasks` that remembers: a piece of a file that is as it was is not read again."""

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}

    def __call__(self, function: Any, tasks: list[Any], workers: int) -> Any:
        keys = [self._key(task) for task in tasks]
        todo = [k for k, key in enumerate(keys) if key not in self._kept]
        fresh = run_tasks(function, [tasks[k] for k in todo], workers)
        for k, result in zip(todo, fresh, strict=True):
            self._kept[keys[k]] = result
        return (self._kept[key] for key in keys)

    @staticmethod
    def _key(task: Any) -> Any:
        if task.shard is None:
            return task.hashes
        status = Path(task.shard.path).stat()
        return task.shard.path, status.st_ino, status.st_mtime_ns, task.piece.start, task.hashes


def phase0(root: Path, cache: Path, workers: int) -> list[Any]:
    """All findings that are not notes."""
    source = FileSource(str(root), ParquetFormat(), cache)
    scan = scan_module.scan_files(source, workers=workers, progress=False)
    summary = run_checks(
        scan,
        protocol=PROTOCOL.document,
        protocol_digest=PROTOCOL.digest,
        data_digest=source.digest(),
        proportions=None,
        simulated=False,
    )
    return [f for result in summary.results for f in result.findings if f.severity != "NOTE"]


def unpack(blob: bytes) -> np.ndarray:
    """float32 [3, size, size]."""
    with np.load(io.BytesIO(blob)) as stored:
        return np.stack([stored[f"image_{band}"] for band in schema.BANDS])


class Files:
    """Columns of the files that a trial changes, and their bytes as they were."""

    def __init__(self, root: Path):
        self.root, self._was, self._columns = root, {}, {}

    def columns(self, name: str) -> dict[str, Any]:
        if name not in self._columns:
            self._was[name] = (self.root / name).read_bytes()
            self._columns[name] = pq.read_table(self.root / name).to_pydict()
        return self._columns[name]

    def write(self) -> None:
        for name, columns in self._columns.items():
            write_columns(self.root / name, columns)

    def restore(self) -> None:
        for name, was in self._was.items():
            (self.root / name).write_bytes(was)


def trial(root: Path, sizes: dict[str, int], rng: np.random.Generator, run: Any) -> Counter[str]:
    """Plant one of each, look, put back; the kinds that were found, and false alarms."""
    files = Files(root)
    by_split: dict[str, list[tuple[str, int]]] = {}
    for name, n in sizes.items():
        by_split.setdefault(name.split("/")[0], []).append((name, n))

    def draw(split: str) -> tuple[str, int]:
        while True:
            name, n = by_split[split][rng.integers(len(by_split[split]))]
            place = name, int(rng.integers(n))
            if place not in taken:
                taken.add(place)
                return place

    taken: set[tuple[str, int]] = set()
    test, train = draw("test"), draw("train")
    brick = files.columns(train[0])["brickname"][train[1]]
    files.columns(test[0])["brickname"][test[1]] = brick
    expected = {"leaked brick": [(brick, test)]}
    for kind, turns in (("copied pair", 0), ("turned copy", 1 + int(rng.integers(3)))):
        a, b = draw("train"), draw(str(rng.choice(["val", "test", "train"])))
        source, target = files.columns(a[0]), files.columns(b[0])
        for column in ("stamp_npz", "ctrl_stamp_npz"):
            pixels = np.rot90(unpack(source[column][a[1]]), turns, (1, 2))
            (target[column][b[1]],) = pack(np.ascontiguousarray(pixels)[None])
        for column in ("theta_e_arcsec", "arc_snr", "psf_fwhm_used_r"):
            target[column][b[1]] = source[column][a[1]]
        expected[kind] = [(a, b)]
    spoilt = draw(str(rng.choice(list(schema.SPLITS))))
    column = str(rng.choice(["stamp_npz", "ctrl_stamp_npz"]))
    pixels = unpack(files.columns(spoilt[0])[column][spoilt[1]])
    band, y, x = (int(rng.integers(k)) for k in pixels.shape)
    pixels[band, y, x] = np.nan
    (files.columns(spoilt[0])[column][spoilt[1]],) = pack(pixels[None])
    swapped = draw(str(rng.choice(list(schema.SPLITS))))
    columns = files.columns(swapped[0])
    stamps, controls = columns["stamp_npz"], columns["ctrl_stamp_npz"]
    stamps[swapped[1]], controls[swapped[1]] = controls[swapped[1]], stamps[swapped[1]]

    def where(place: tuple[str, int]) -> str:
        return f"{place[0]} row {place[1]}"

    files.write()
    try:
        findings = run()
    finally:
        files.restore()
    found: Counter[str] = Counter()
    for finding in findings:
        text = f"{finding.where}: {finding.message}"
        hits = []
        if finding.check == "splits" and brick in text and where(test) in text:
            hits.append("leaked brick")
        for kind, word in (("copied pair", "copy"), ("turned copy", "turned")):
            ((a, b),) = expected[kind]
            if finding.check == "duplicates" and where(a) in text and where(b) in text:
                hits += [kind] if word in text else []
        if finding.check == "stamps" and text.startswith(where(spoilt)) and "1 NaN" in text:
            hits += ["NaN pixel"] if f"band {schema.BANDS[band]}" in text else []
        if finding.check == "pairs" and where(swapped) in text and "exchanged" in text:
            hits.append("exchanged pair")
        found.update(set(hits) or {"false alarm"})
    return found


def bound(hits: int, n: int) -> str:
    """The 95 % Clopper-Pearson interval of a share, as text."""
    low = beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    return f"[{low:.3f}, {high:.3f}]"


def main() -> None:
    """Make the sets, run the trials, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--clean", type=int, default=100, help="clean sets")
    parser.add_argument("--clean-rows", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="100 kB a row are written here")
    told = parser.parse_args()
    root, cache = told.folder / "rows", told.folder / "cache"
    if not root.exists():
        make_set(root, told.rows, ROWS_PER_FILE, told.seed)
    sizes = {
        path.relative_to(root).as_posix(): pq.read_metadata(path).num_rows
        for path in sorted(root.rglob("*.parquet"))
    }
    scan_module.run_tasks = KeptResults()
    start = time.monotonic()
    alarms = phase0(root, cache, told.workers)
    print(f"{sum(sizes.values())} clean rows: {len(alarms)} findings, ", end="")
    print(f"{time.monotonic() - start:.0f} s with {told.workers} workers", flush=True)
    found: Counter[str] = Counter()
    for k in range(told.trials):
        rng = np.random.default_rng([told.seed, k])
        one = trial(root, sizes, rng, lambda: phase0(root, cache, told.workers))
        found.update(kind for kind in KINDS if one[kind])
        found["false alarm"] += one["false alarm"]
        missed = [kind for kind in KINDS if not one[kind]]
        print(f"trial {k}: {dict(one)}{' MISSED ' + str(missed) if missed else ''}", flush=True)
    scan_module.run_tasks = run_tasks
    noisy = 0
    for k in range(told.clean):
        clean = told.folder / "clean"
        make_set(clean, told.clean_rows, ROWS_PER_FILE, 1_000 + k)
        noisy += bool(phase0(clean, cache, told.workers))
        shutil.rmtree(clean)
    print(f"\n| planted in {told.rows} rows | found | 95 % |\n|---|---|---|")
    for kind in KINDS:
        print(f"| {kind} | {found[kind]} of {told.trials} | {bound(found[kind], told.trials)} |")
    print(f"| findings beyond those planted | {found['false alarm']} | |")
    print(
        f"| clean sets of {told.clean_rows} rows with a finding | {noisy} of {told.clean} | ",
        end="",
    )
    print(f"{bound(noisy, told.clean) if told.clean else ''} |")
    print(json.dumps(dict(found)))


if __name__ == "__main__":
    main()
