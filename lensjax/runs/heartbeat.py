"""heartbeat.json: the sign that a run lives, and how far it is.

Not the progress of record (that is the checkpoint): a heartbeat that cannot be written does not
stop a run. Written by the training thread at step boundaries, so that a hung step shows.

    heartbeat = Heartbeat(workdir.heartbeat, last_good=lambda: checkpoints.last_good)
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


class Heartbeat:
    """Writes {time, step, epoch, stage, last_good_step, pid, host}, at most once a second.

    `last_good` gives the step of the newest checkpoint whose manifest is written, or None.
    """

    def __init__(self, path: Path, last_good: Callable[[], int | None] = lambda: None):
        self._path, self._last_good = path, last_good
        self._next, self._warned = 0.0, False

    def beat(self, *, step: int, epoch: int, stage: str = "train", force: bool = False) -> None:
        """Say that `step` steps are done, in epoch `epoch` (0-based); `force`: say it now."""
        now = time.monotonic()
        if now < self._next and not force:
            return
        self._next = now + EVERY_S
        try:
            write_json(
                self._path,
                {
                    "time": round(time.time(), 3),  # seconds since 1970, UTC
                    "step": step,
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
