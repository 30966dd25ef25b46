"""Tasks on all processors: a pool of worker processes that ends with its owner, however it ends.

Not threads: decoding holds the interpreter. Few tasks are done here and now, as starting a process
takes longer.

    >>> for result in run_tasks(function, tasks, workers=2): ...
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import TypeVar

from threadpoolctl import threadpool_limits

from lensjax.schema import ExitCode, LensjaxError

Task = TypeVar("Task")
Result = TypeVar("Result")
FEW_TASKS = 8  # done in this process: seconds, as starting workers takes
AHEAD = 4  # tasks handed out beyond those that are being done, per worker


def count_workers(asked: int) -> int:
    """`asked`, or for 0 one per processor that this process may use (1 where that is unknown)."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return asked or usable


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    """`function` of each task, in order. Raises what the function raises, and LensjaxError
    (RESOURCE) if a worker is killed."""
    if workers <= 1 or len(tasks) <= FEW_TASKS:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks held by our threads
    over, alive = context.Pipe(duplex=False)  # `alive` is closed by us, or by our death
    pool = ProcessPoolExecutor(workers, context, _begin, (over,))
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(_submit(pool, function, task))
            if len(waiting) > workers * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise LensjaxError(
            ExitCode.RESOURCE,
            "a worker process was ended from outside, perhaps for want of memory",
            remedy="Free memory, or use fewer with --config.data.workers=1",
        ) from error
    finally:
        alive.close()  # a broken pool forgets the worker it was starting, then waits for it
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[Task], Result], task: Task
) -> Future[Result]:
    """`pool.submit`, which also starts workers: one that was killed meanwhile breaks the pool while
    the next is being started, which fails on a closed pipe. BrokenProcessPool then too."""
    try:
        return pool.submit(function, task)
    except OSError as error:
        raise BrokenProcessPool(str(error)) from error


def _begin(over: Connection) -> None:
    """In a worker: one thread for the arithmetic, an end when the owner has ended, and no other:
    what is sent to all processes of a terminal or a job is for the owner to heed."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threadpool_limits(1)
    threading.Thread(target=_end_with_owner, args=(over,), daemon=True).start()


def _end_with_owner(over: Connection) -> None:
    over.poll(None)  # nothing is ever sent: this is the end of the pipe
    os._exit(int(ExitCode.STOPPED))
