"""The log of metrics: metrics.jsonl, a line an epoch, and the same as TensorBoard events.

Not the state: the history is part of the checkpoint, and both logs are written from it. So a run
continued from an earlier step leaves neither duplicates nor holes. tensorboardX is imported here
alone (it needs no TensorFlow).

    with MetricsLog(workdir.metrics, workdir.tensorboard) as metrics:
        metrics.write(meta["history"])
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tensorboardX import SummaryWriter

from lensjax.runs.files import plain, write_bytes

Record = Mapping[str, Any]  # of one epoch; has at least `step` and `epoch`


class MetricsLog:
    """Both logs of a run; `tensorboard` is a folder of event files, one a start."""

    def __init__(self, path: Path, tensorboard: Path):
        self._path, self._tensorboard = path, tensorboard
        self._writer: SummaryWriter | None = None
        self._told = -1  # step of the last record given to TensorBoard

    def write(self, history: Sequence[Record]) -> None:
        """Make both logs say exactly `history`, one record an epoch, in order of steps.

        Raises:
            OSError: the lines written before are then still there.
        """
        lines = [json.dumps(plain(dict(record)), allow_nan=False) + "\n" for record in history]
        write_bytes(self._path, "".join(lines).encode())
        for record in history:
            if record["step"] > self._told:
                self._tell(record)
        if self._writer is not None:
            self._writer.flush()

    def _tell(self, record: Record) -> None:
        if self._writer is None:
            # All that earlier starts told is purged and told again: a start that was killed may
            # have told of epochs that this one repeats, or not have told of its last.
            self._writer = SummaryWriter(str(self._tensorboard), purge_step=0)
        for name, value in record.items():
            if name not in ("step", "epoch") and _is_number(value):
                self._writer.add_scalar(name, value, record["step"])
        self._writer.add_scalar("epoch", record["epoch"], record["step"])
        self._told = record["step"]

    def close(self) -> None:
        """Flush and close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
