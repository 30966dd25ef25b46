"""The folders under checkpoints/: which steps there are, which are good, what a kill left.

Not what is in them (`checkpoints` writes and reads that), and no jax: steps are verified without.

    checkpoints/<step>/     a step: Orbax's files and lensjax_manifest.json
    checkpoints/bad/        steps found to be other than saved, each with why.json; never deleted

    step, causes = StepFolders(workdir.checkpoints).newest_good()
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from pathlib import Path

from lensjax.runs import stepmanifest
from lensjax.runs.files import write_json

log = logging.getLogger(__name__)
BAD = "bad"
DELETING = "deleting"  # steps on their way out: moved there whole, removed once the new one exists
SAVING = "saving.json"  # names the step being saved, so that one cut short is told from a bad one
UNFINISHED = ".orbax-checkpoint-tmp"  # in the names of what Orbax has not committed


class StepFolders:
    """The steps in `directory`."""

    def __init__(self, directory: Path):
        self.directory = directory

    def folder(self, step: int) -> Path:
        """Where `step` is, or would be."""
        return self.directory / str(step)

    def all(self) -> list[int]:
        """Every step committed by Orbax, in order."""
        if not self.directory.is_dir():
            return []
        names = (entry.name for entry in self.directory.iterdir() if entry.is_dir())
        return sorted(int(name) for name in names if name.isdecimal())

    def listed(self) -> list[int]:
        """Steps with a manifest, in order; whether they are good is not looked at."""
        return [step for step in self.all() if (self.folder(step) / stepmanifest.NAME).exists()]

    def begin(self, step: int) -> None:
        """Note down that `step` is about to be written."""
        write_json(self.directory / SAVING, {"step": step})

    def end(self) -> None:
        """`step` exists: what it replaces may go."""
        (self.directory / SAVING).unlink()
        shutil.rmtree(self.directory / DELETING, ignore_errors=True)

    def clear_unfinished(self) -> None:
        """Undo a save that was cut short, to be called once the workdir is locked: what it had
        written was never a step, and what it had moved out of the way comes back."""
        for entry in self.directory.iterdir():
            if UNFINISHED in entry.name:
                log.info("removing the unfinished checkpoint %s", entry.name)
                shutil.rmtree(entry)
        folder = self._cut_short()
        if folder is not None:
            log.info("the save of step %s was cut short", folder.name)
            for entry in sorted((self.directory / DELETING).glob("*")):
                os.rename(entry, self.directory / entry.name)
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.directory / DELETING, ignore_errors=True)
        (self.directory / SAVING).unlink(missing_ok=True)

    def _cut_short(self) -> Path | None:
        """The folder of the step that was being saved and has no manifest."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            step = int(json.loads((self.directory / SAVING).read_bytes())["step"])
            if not (self.folder(step) / stepmanifest.NAME).exists():
                return self.folder(step)
        return None

    def prune(self) -> list[int]:
        """Delete the steps that a run can do without, for room: all but the newest, if that is
        good, and the best. Returns them."""
        steps = self.listed()
        if not steps or stepmanifest.fault(self.folder(steps[-1])) is not None:
            return []
        best = stepmanifest.read(self.folder(steps[-1]))["best_step"]
        spare = [step for step in steps[:-1] if step != best]
        for step in spare:
            log.warning("no room for a checkpoint: that of step %d is deleted", step)
            shutil.rmtree(self.folder(step))
        return spare

    def newest_good(self) -> tuple[int | None, list[str]]:
        """The newest step whose files are all as they were saved, and the causes why newer ones,
        now in bad/, are not. No step and no causes: nothing was ever saved."""
        causes: list[str] = []
        for step in reversed(self.all()):
            cause = stepmanifest.fault(self.folder(step))
            if cause is None:
                return step, causes
            self._set_aside(step, cause)
            causes.append(f"step {step}: {cause}")
        return None, causes or self._set_aside_before()

    def set_bad_aside(self) -> list[int]:
        """Move every step that is other than saved to bad/; returns them."""
        faults = {step: stepmanifest.fault(self.folder(step)) for step in self.all()}
        bad = {step: cause for step, cause in faults.items() if cause is not None}
        for step, cause in bad.items():
            self._set_aside(step, cause)
        return list(bad)

    def _set_aside(self, step: int, cause: str) -> None:
        bad = self.directory / BAD
        bad.mkdir(exist_ok=True)
        number = 0
        while (target := bad / (f"{step}-{number}" if number else str(step))).exists():
            number += 1
        os.rename(self.folder(step), target)
        write_json(target / "why.json", {"step": step, "cause": cause})
        log.warning("checkpoint of step %d is not trusted: %s. Kept in %s", step, cause, target)

    def _set_aside_before(self) -> list[str]:
        """Causes of the steps in bad/: where nothing else is left, this is no new run."""
        causes = []
        for folder in sorted((self.directory / BAD).glob("*")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                why = json.loads((folder / "why.json").read_bytes())
                causes.append(f"step {why['step']}: {why['cause']}")
        return causes
