"""The process that inputs are tried in: one line of JSON on stdout for each.

Not the judge: `campaign` starts it, watches its memory, and notes when it dies. Each input is made
of (seed, number) alone, tried in an empty folder under an alarm that ends the process, with the
high-water mark of memory set back before. Code that an input makes run is seen by an audit hook.

    $ python -m tests.fuzz.worker --targets=tests.fuzz.targets:TARGETS --seed=0 --numbers=0:1000:2
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fuzz.trying import Target, outcome

# What no file may bring about. `open` is allowed below these folders alone.
FORBIDDEN = (
    *("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("subprocess.Popen", "socket.connect", "socket.getaddrinfo", "urllib.Request", "compile"),
)
_SCHEDULE_STEP = 37  # prime to 100: targets take turns


class Watch:
    """An audit hook: the first forbidden event of the input that is being tried."""

    def __init__(self, folder: Path):
        self.event, self.active = "", False
        roots = (
            str(folder),
            sys.prefix,
            sys.base_prefix,
            os.getcwd(),
            "/proc/self",
            "/sys",
            "/dev",
        )
        self._roots = tuple(os.path.realpath(root) for root in roots)
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active or self.event:
            return
        if event in FORBIDDEN:
            self.event = event
        elif event == "open" and isinstance(args[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(args[0]))
            if not path.startswith(self._roots):
                self.event = f"open {path}"


def schedule(targets: Mapping[str, Target]) -> list[str]:
    """Names of targets, each as often as its share, taking turns."""
    names = [name for name, target in targets.items() for _ in range(target.share)]
    return [names[k * _SCHEDULE_STEP % len(names)] for k in range(len(names))]


def randomness(seed: int, number: int) -> random.Random:
    """All that an input is made of."""
    return random.Random(f"lensjax {seed} {number}")


def make_input(targets: Mapping[str, Target], seed: int, number: int) -> tuple[str, bytes]:
    """The target of input `number`, and its bytes."""
    turns = schedule(targets)
    name = turns[number % len(turns)]
    return name, targets[name].make(randomness(seed, number))


def load_targets(place: str) -> Mapping[str, Target]:
    """The mapping at 'module:name'."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--numbers", required=True)
    parser.add_argument("--limit-s", type=float, default=5.0)
    flags = parser.parse_args(argv)
    targets = load_targets(flags.targets)
    warnings.simplefilter("error")  # a warning on a user's screen is a defect too
    parent = Path(tempfile.mkdtemp(prefix="lensjax-fuzz-"))
    watch = Watch(parent)
    try:
        for target in targets.values():  # what is imported late is imported now
            for data in target.seeds():
                _try(target, data, parent)
        for number in range(*map(int, flags.numbers.split(":"))):
            name, data = make_input(targets, flags.seed, number)
            print(json.dumps([number, name]), flush=True)
            print(json.dumps(_measured(targets[name], data, parent, watch, flags.limit_s)))
    finally:
        shutil.rmtree(parent, ignore_errors=True)
    return 0


def _try(target: Target, data: bytes, parent: Path) -> str:
    folder = parent / "x"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return outcome(target, data, folder)


def _measured(
    target: Target, data: bytes, parent: Path, watch: Watch, limit_s: float
) -> list[str | float]:
    """Outcome, seconds, the peak of memory in MB, and by how much that was above what there was."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before = memory_mb("VmRSS")
    watch.event, watch.active = "", True
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    begun = time.perf_counter()
    ended = _try(target, data, parent)
    seconds = time.perf_counter() - begun
    signal.setitimer(signal.ITIMER_REAL, 0)
    watch.active = False
    if watch.event:
        ended = f"forbidden: {watch.event}"
    peak = memory_mb("VmHWM")
    return [ended, round(seconds, 5), peak, max(0.0, peak - before)]


def memory_mb(line: str) -> float:
    """VmRSS, the memory of this process, or VmHWM, its high-water mark since it was set back."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{line}:")[1].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
