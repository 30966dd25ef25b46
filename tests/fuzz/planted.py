"""Targets with a defect each: what a campaign must not miss. One input each, nothing random."""

from __future__ import annotations

import mmap
import os
import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from lensjax.schema import ExitCode, LensjaxError
from tests.fuzz.trying import READ, Target


def _bug() -> str:
    return str(1 // 0)


def _late() -> str:
    time.sleep(60)
    return READ


def _large() -> str:
    return READ if len(bytearray(os.urandom(16)) * (40 * 2**20)) else ""  # 640 MB


def _unbounded() -> str:
    held = []  # populated by the kernel: quick enough to be memory before it is a hang
    while True:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        held.append(mmap.mmap(-1, 2**27, flags=flags))


def _pickle() -> str:
    pickle.loads(pickle.dumps(ExitCode.OK))
    return READ


def _escape() -> str:
    with open("/etc/hostname", "rb"):
        return READ


def _command() -> str:
    return READ if os.system("true") == 0 else ""


def _warning() -> str:
    warnings.warn("overflow", RuntimeWarning, stacklevel=1)
    return READ


def _death() -> str:
    os.abort()


def _wrong_code() -> str:
    raise LensjaxError(ExitCode.GATE_FAILED, "no reader's code")


def _sound() -> str:
    return READ


def _refused() -> str:
    raise LensjaxError(ExitCode.REFUSED_INPUT, "on purpose")


def _target(run: Callable[[], str]) -> Target:
    def ignoring(data: bytes, folder: Path) -> str:
        del data, folder
        return run()

    return Target(1, lambda rng: rng.randbytes(4), ignoring, lambda: ())


DEFECTS: dict[str, str] = {  # how each must be told
    "bug": "ZeroDivisionError: integer division or modulo by zero",
    "late": "hang",
    "large": READ,  # but over 500 MB
    "unbounded": "memory beyond 1500 MB",
    "pickle": "forbidden: pickle.find_class",
    "escape": "forbidden: open /etc/hostname",
    "command": "forbidden: os.system",
    "warning": "RuntimeWarning: overflow",
    "death": "death by signal 6",
    "wrong_code": "exit 20",
}
HARMLESS = {"sound": READ, "refused": "exit 17"}
TARGETS = {name: _target(globals()[f"_{name}"]) for name in (*DEFECTS, *HARMLESS)}
