"""The real commands on a planted root, in this process or in one of their own; guards may be off.

Not pytest: `conftest` makes the fixtures. With all guards on a child process is exactly what users
type; with some off it is `child.py`, which takes them away and then runs the same script.

    run = Commands(folder, in_child=True)
    ended = run.phase0(root)
    sets = run.prepared(root, off=["pixels"])
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.faults.guards import switch_off

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 300  # of one command
# What a script calls, in this process.
_ENTRY = {
    "phase0/run_all.py": "lensjax.checks.command",
    "lensjax.data": "lensjax.curate.command",
    "main.py": "tests.faults.trained",
}


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one line that says what went wrong: the last on stderr, the only one that begins
        with 'error: ', and no traceback anywhere."""
        lines = self.err.strip().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1 and lines[-1] == errors[0], self.err
        assert "Traceback" not in self.out + self.err
        return errors[0]


class Set(NamedTuple):
    """A prepared split: its columns, and stamps float32 [n, 64, 64, 3]."""

    table: dict[str, np.ndarray]
    stamps: np.ndarray

    def stamp(self, stamp_id: str) -> np.ndarray:
        """One stamp by id."""
        (row,) = np.flatnonzero(self.table["stamp_id"] == stamp_id)
        return self.stamps[row]


class Commands:
    """The commands; everything they write goes into `folder`, but for the programs that jax
    compiles, which those of a session share."""

    def __init__(self, folder: Path, in_child: bool, programs: Path):
        self.folder, self.in_child = folder, in_child
        self.cache, self.summary_file = folder / "cache", folder / "summary.json"
        self.here = folder / "cwd"
        self.here.mkdir(parents=True)
        self.cache.mkdir()
        (self.cache / "xla").symlink_to(programs)
        self._cache = f"--config.data.cache_dir={self.cache}"

    def phase0(self, root: Path | None, *more: str, off: Collection[str] = ()) -> Ended:
        """`python phase0/run_all.py --data=ROOT`."""
        data = [] if root is None else [f"--data={root}"]
        argv = [*data, self._cache, f"--out={self.summary_file}", *more]
        return self.call("phase0/run_all.py", argv, off)

    def prepare(self, root: Path, *more: str, off: Collection[str] = ()) -> Ended:
        """`python -m lensjax.data prepare --config.data.root=ROOT`, as arrays."""
        told = ["--config=configs/b3.py:tiny", f"--config.data.root={root}"]
        argv = ["prepare", *told, "--config.data.reader=arrays", self._cache, *more]
        return self.call("lensjax.data", argv, off)

    def record(self, root: Path, *more: str) -> Ended:
        """`python -m lensjax.data record ROOT`."""
        return self.call("lensjax.data", ["record", str(root), self._cache, *more], ())

    def train(
        self, root: Path, *more: str, workdir: str = "run", off: Collection[str] = ()
    ) -> Ended:
        """`python main.py --config=configs/b3.py:tiny --config.data.root=ROOT`."""
        told = ["--config=configs/b3.py:tiny", f"--config.data.root={root}"]
        told += [f"--workdir={self.folder / workdir}", "--config.data.reader=arrays"]
        argv = [*told, self._cache, *more]
        return self.call("main.py", argv, off)

    def call(self, script: str, argv: Sequence[str], off: Collection[str]) -> Ended:
        """A script (or module) of the repository with these words; the guards `off` taken away."""
        if self.in_child:
            return self._child(script, argv, off)
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            switch_off(off, patch)
            patch.chdir(self.here)
            code = importlib.import_module(_ENTRY[script]).main(list(argv))
        return Ended(code, out.getvalue(), err.getvalue())

    def peak(self, root: Path, off: Collection[str] = ()) -> tuple[Ended, int]:
        """How phase 0 of `root` ends in a child process, and the most bytes of memory it used."""
        argv = [f"--data={root}", self._cache]
        ended = self._child("phase0/run_all.py", argv, off, measured=True)
        return ended, int((self.folder / "peak").read_text())

    def _child(
        self, script: str, argv: Sequence[str], off: Collection[str], measured: bool = False
    ) -> Ended:
        if off or measured:
            command = [str(ROOT / "tests/faults/child.py"), ",".join(off), script, *argv]
        elif script.endswith(".py"):
            command = [str(ROOT / script), *argv]
        else:
            command = ["-m", script, *argv]
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TF_")},
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            **({"LENSJAX_FAULTS_PEAK": str(self.folder / "peak")} if measured else {}),
        }
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.here,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def summary(self) -> dict[str, Any]:
        """phase0_summary.json of the last phase 0."""
        return json.loads(self.summary_file.read_text())

    def prepared_folder(self) -> Path:
        """Of the one set that was prepared."""
        (folder,) = (self.cache / "prepared").glob("[!.]*")
        return folder

    def sets(self) -> dict[str, Set]:
        """What was prepared, by split, read with numpy alone."""
        folder, made = self.prepared_folder(), {}
        for path in sorted(folder.glob("*-stamps.npy")):
            split = path.name.split("-")[0]
            with np.load(folder / f"{split}-table.npz") as stored:
                made[split] = Set({name: stored[name] for name in stored.files}, np.load(path))
        return made

    def artefacts(self) -> list[str]:
        """What there should not be after a refusal: prepared sets, checkpoints, files in the
        working directory."""
        found = [*self.here.rglob("*"), *self.folder.glob("*/checkpoints/*")]
        found += (self.cache / "prepared").glob("*")
        return [str(path.relative_to(self.folder)) for path in found if path.name != ".lock"]


def tree(root: Path) -> dict[str, str]:
    """What lies under `root`: every file's SHA-256 (of a link where it leads) by name."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = os.path.relpath(path, root)
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
