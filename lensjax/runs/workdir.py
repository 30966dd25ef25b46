"""The run directory: its names, and that it is one run's alone while that run lives.

Not the run: nothing here knows what is trained. `Workdir(path)` alone gives the names, without a
lock, to those who only read.

    with open_workdir("runs/b3", fresh=False) as workdir:
        write_json(workdir.config, config)
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lensjax.runs import lock
from lensjax.runs.files import unusable
from lensjax.schema import ExitCode, LensjaxError, printable

ATTIC = "attic-"  # folders of what --fresh set aside
PACKAGE = Path(__file__).resolve().parent.parent
_NOT_A_FOLDER = "exists and is not a folder"


@dataclass(frozen=True)
class Workdir:
    """A run directory; `notices` are what opening it did that the user should read."""

    path: Path  # real path
    notices: tuple[str, ...] = ()
    attic: Path | None = None  # where --fresh put the earlier contents

    @property
    def config(self) -> Path:
        """The whole config, as JSON."""
        return self.path / "config.json"

    @property
    def provenance(self) -> Path:
        """Code, packages, data and machine of every start."""
        return self.path / "provenance.json"

    @property
    def preflight(self) -> Path:
        """What was tried before the first step."""
        return self.path / "preflight.json"

    @property
    def phase0(self) -> Path:
        """The data checks' summary."""
        return self.path / "phase0_summary.json"

    @property
    def log(self) -> Path:
        """Everything said, with times."""
        return self.path / "train.log"

    @property
    def metrics(self) -> Path:
        """One JSON line an epoch."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard events."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, one folder a step."""
        return self.path / "checkpoints"

    @property
    def eval(self) -> Path:
        """Folder of evaluation arrays."""
        return self.path / "eval"

    @property
    def eval_manifest(self) -> Path:
        """Digests of the evaluation arrays; without it there is no evaluation."""
        return self.eval / "manifest.json"

    @property
    def gates(self) -> Path:
        """The verdict."""
        return self.path / "gates.json"

    @property
    def results(self) -> Path:
        """Best epoch, final gates and verdict."""
        return self.path / "training_results.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """Folder of the page's figures."""
        return self.path / "figures"

    @property
    def heartbeat(self) -> Path:
        """The latest step, while the run lives."""
        return self.path / "heartbeat.json"

    def eval_arrays(self, split: str) -> Path:
        """Evaluation arrays of `split`: val, test, or a catalogue that was scored."""
        return self.eval / f"{split}.npz"


@contextlib.contextmanager
def open_workdir(path: str | Path, fresh: bool = False) -> Iterator[Workdir]:
    """Create DIR if need be, lock it, and hold the lock until the block ends.

    With `fresh` all contents move to DIR/attic-<uuid>/ first, earlier attics excepted; nothing is
    deleted.

    Raises:
        LensjaxError: exit 2 for a file, a dangling link or a newline in the name; exit 13 if a run
            holds DIR; exit 16 if DIR cannot be created or written.
    """
    folder = _created(path)
    with lock.held(folder) as took_over:
        _check_writable(folder)
        notices = [took_over] if took_over else []
        attic = _set_aside(folder) if fresh else None
        if attic is not None:
            notices.append(_how_to_undo(folder, attic))
        yield Workdir(folder, tuple(notices), attic)


def _created(path: str | Path) -> Path:
    text = os.fspath(path)
    if not text:
        raise LensjaxError(ExitCode.USAGE, "the workdir has no name", "--workdir", "Name a folder")
    if "\n" in text or "\r" in text or "\0" in text:
        raise LensjaxError(
            ExitCode.USAGE, "a newline or NUL in the name of the workdir", text, "Name it without"
        )
    folder = Path(text).expanduser()
    remedy = "Name a folder"
    if os.path.islink(folder) and not os.path.exists(folder):
        raise LensjaxError(ExitCode.USAGE, "is a link to nothing", str(folder), remedy)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder.resolve()
    except FileExistsError:
        raise LensjaxError(ExitCode.USAGE, _NOT_A_FOLDER, str(folder), remedy) from None
    except NotADirectoryError:
        raise LensjaxError(
            ExitCode.USAGE, f"a parent of it {_NOT_A_FOLDER}", str(folder), remedy
        ) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise LensjaxError(ExitCode.USAGE, "name too long", str(folder), remedy) from None
        raise unusable(error, folder, "cannot be created") from None


def _check_writable(folder: Path) -> None:
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        with open(probe, "xb") as file:
            file.write(b"x")
        probe.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            probe.unlink()
        raise unusable(error, folder, "cannot be written") from None


def _set_aside(folder: Path) -> Path | None:
    """Move all of DIR's contents to a new attic; None if there was nothing."""
    if PACKAGE.is_relative_to(folder) or Path.home().is_relative_to(folder):
        raise LensjaxError(
            ExitCode.USAGE,
            "holds the code or your home, so --fresh will not move its contents",
            str(folder),
            "Name the folder of a run",
        )
    old = [entry for entry in folder.iterdir() if entry.name != lock.NAME]
    old = [entry for entry in old if not entry.name.startswith(ATTIC)]
    if not old:
        return None
    attic = folder / f"{ATTIC}{uuid.uuid4().hex}"
    try:
        attic.mkdir()
        for entry in old:
            os.rename(entry, attic / entry.name)
    except OSError as error:
        raise unusable(error, folder, "cannot be set aside") from None
    return attic


def _how_to_undo(folder: Path, attic: Path) -> str:
    undo = f"mv {shlex.quote(str(attic))}/* {shlex.quote(str(folder))}/"
    return printable(
        f"--fresh: the earlier run is in {attic}. To undo, move all else in {folder} elsewhere "
        f"(not the attic: it is the run), then: {undo}"
    )
