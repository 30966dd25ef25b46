"""Many mutated inputs tried in worker processes, and what came of them.

Not the inputs (`targets`) and not the trying (`worker`). A worker that dies, is ended by its alarm
or needs too much memory is noted with the input it was at, and another goes on with the next one.

    >>> results = run("tests.fuzz.targets:TARGETS", seed=0, count=1000, workers=1)
    >>> [result for result in results if result.is_undocumented]
    []
"""

from __future__ import annotations

import contextlib
import json
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.trying import DOCUMENTED

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S, LIMIT_MB = 5.0, 500.0
KILL_MB = 1500.0  # so that a bomb that goes off harms nobody
_POLL_S = 0.02


class Result(NamedTuple):
    """Of one input: how it ended, seconds, the peak of the process's memory, MB, and by how much
    that was above what the process had."""

    number: int
    target: str
    outcome: str
    seconds: float
    peak_mb: float
    grown_mb: float

    @property
    def is_undocumented(self) -> bool:
        """Did it end as no input may?"""
        late, large = self.seconds > LIMIT_S, self.peak_mb > LIMIT_MB
        return self.outcome not in DOCUMENTED or late or large


def run(
    targets: str,
    *,
    seed: int,
    count: int,
    workers: int,
    tick: Callable[[int], object] = lambda n: None,
    limit_s: float = LIMIT_S,
    nice: int = 0,
) -> list[Result]:
    """Tries inputs 0 to `count` of `seed` in as many processes as `workers`; sorted by number.
    `tick(1)` is called after each."""
    share = [range(k, count, workers) for k in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(lambda numbers: _all(targets, seed, numbers, tick, limit_s, nice), share)
        return sorted(result for part in parts for result in part)


def _all(
    targets: str,
    seed: int,
    numbers: range,
    tick: Callable[[int], object],
    limit_s: float,
    nice: int,
) -> list[Result]:
    """The results of `numbers`, whatever becomes of the processes."""
    found: list[Result] = []
    while len(found) < len(numbers):
        before = len(found)
        for result in _one_process(targets, seed, numbers[before:], limit_s, nice):
            found.append(result)
            tick(1)
        if len(found) == before:
            raise RuntimeError("a worker ended before its first input")
    return found


def _one_process(
    targets: str, seed: int, numbers: range, limit_s: float, nice: int
) -> Iterator[Result]:
    """Results of one worker, the last of which may be that of its death."""
    command = [sys.executable, "-m", "tests.fuzz.worker", f"--targets={targets}", f"--seed={seed}"]
    command += [f"--numbers={numbers.start}:{numbers.stop}:{numbers.step}", f"--limit-s={limit_s}"]
    if nice:
        command = ["nice", "-n", str(nice), *command]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, bufsize=0
        ) as worker,
    ):
        try:
            at, largest = None, 0.0
            for line, rss_mb in _lines(worker):
                if line is None:
                    largest = max(largest, rss_mb)
                    if rss_mb > KILL_MB:
                        worker.kill()
                    continue
                fields = json.loads(line)
                if len(fields) == 2:
                    at, largest = fields, 0.0
                else:
                    yield Result(*at, *fields)
                    at = None
            code = worker.wait()
            if at is not None:
                yield Result(*at, _death(code, largest), 0.0, largest, largest)
            elif code:
                errors.seek(0)
                raise RuntimeError(f"a worker ended with code {code}: {errors.read()[-500:]}")
        finally:
            worker.kill()


def _death(code: int, largest_mb: float) -> str:
    if largest_mb > KILL_MB:
        return f"memory beyond {KILL_MB:.0f} MB"
    if code == -signal.SIGALRM:
        return "hang"
    return f"death by signal {-code}" if code < 0 else f"exit of the process with {code}"


def _lines(worker: subprocess.Popen[bytes]) -> Iterator[tuple[str | None, float]]:
    """Lines of a worker (None while there is none) and its memory at the time, MB."""
    assert worker.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        buffered = ""
        while True:
            if not selector.select(_POLL_S):
                yield None, _rss_mb(worker.pid)
                continue
            read = worker.stdout.read(2**16)
            if not read:
                return
            *lines, buffered = (buffered + read.decode()).split("\n")
            for line in lines:
                yield line, 0.0


def _rss_mb(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20
    return 0.0
