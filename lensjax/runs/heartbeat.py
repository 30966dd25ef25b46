"""heartbeat.json: the sign that a run lives, and how far it is.

Not the progress of record (that is the checkpoint): a heartbeat that cannot be written does not
stop a run. Written by the training thread at step boundaries, so that a hung step shows.

    heartbeat = Heartbeat(workdir.heartbeat, last_good=lambda: checkpoints.last_good, total=625)
    heartbeat.beat(step=120, epoch=3)
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from lensjax.runs.files import write_json

log = logging.getLogger(__name__)
EVERY_S = 1.0  # seconds of wall time between two writes
STEP_DUE_S = 30.0  # a step that takes longer has stalled, unless steps here take as long
LONG_DUE_S = 3600.0  # compiling, reading, evaluating: done in one piece
_SLOWER = 20  # times the time of the steps before


class Heartbeat:
    """Writes time, due_s, step, total_steps, steps_per_s, epoch, stage, last_good_step, pid and
    host, at most once a second. Where the next is not there `due_s` seconds after `time`, the run
    has stalled.

    `last_good` gives the step of the newest checkpoint whose manifest is written, or None; `total`
    is the number of steps of the whole plan, None if unknown.
    """

    def __init__(
        self,
        path: Path,
        last_good: Callable[[], int | None] = lambda: None,
        total: int | None = None,
    ):
        self._path, self._last_good, self._total = path, last_good, total
        self._next, self._warned = 0.0, False
        self._since: tuple[float, int] | None = None  # time and step of the write before
        self._rate: float | None = None  # steps a second, the newest counting half

    def beat(self, *, step: int, epoch: int, stage: str = "train", force: bool = False) -> None:
        """Say that `step` steps are done, in epoch `epoch` (0-based); `force`: say it now. In
        another stage than "train" the next beat may be long in coming."""
        now = time.monotonic()
        if now < self._next and not force:
            return
        self._next = now + EVERY_S
        self._measure(now, step)
        steps = stage == "train" and not force
        slow = _SLOWER / self._rate if self._rate else LONG_DUE_S
        try:
            write_json(
                self._path,
                {
                    "time": round(time.time(), 3),  # seconds since 1970, UTC
                    "due_s": round(max(STEP_DUE_S, slow), 1) if steps else LONG_DUE_S,
                    "step": step,
                    "total_steps": self._total,
                    "steps_per_s": None if self._rate is None else round(self._rate, 3),
                    "epoch": epoch,
                    "stage": stage,
                    "last_good_step": self._last_good(),
                    "pid": os.getpid(),
                    "host": socket.gethostname(),
                },
                durable=False,
            )
        except OSError as error:
            if not self._warned:
                log.warning("no heartbeat: %s", error)
            self._warned = True

    def _measure(self, now: float, step: int) -> None:
        before, self._since = self._since, (now, step)
        if before is not None and step > before[1] and now > before[0]:
            rate = (step - before[1]) / (now - before[0])
            self._rate = rate if self._rate is None else (self._rate + rate) / 2
