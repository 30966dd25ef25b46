"""One target under atheris, a fuzzer that is led by the coverage of what it reaches. Optional: not
in requirements.txt, and no test needs it.

    $ pip install atheris
    $ python -m tests.fuzz.atheris_target npz /tmp/npz -runs=100000 -max_len=65536
    $ python -m tests.fuzz.atheris_target npz crash-...              # one input again

The corpus folder is made of the seeds if it is empty. An end that is not documented stops it, as
do libFuzzer's own limits: 5 s an input, 500 MB of memory.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lensjax"]):
    from tests.fuzz.targets import TARGETS
from tests.fuzz.trying import DOCUMENTED, Target, outcome

LIMITS = ("-timeout=5", "-rss_limit_mb=500")


def main(argv: list[str]) -> None:
    """`argv`: the command, a target of TARGETS, then what libFuzzer takes (folders first)."""
    if len(argv) < 2 or argv[1] not in TARGETS:
        sys.exit(f"usage: {argv[0]} TARGET [CORPUS] [-runs=N]\ntargets: {', '.join(TARGETS)}")
    target = TARGETS[argv[1]]
    for folder in [Path(word) for word in argv[2:] if not word.startswith("-")][:1]:
        _seed(target, folder)
    warnings.simplefilter("error")

    def try_one(data: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="lensjax-fuzz-") as folder:
            ended = outcome(target, data, Path(folder))
        if ended not in DOCUMENTED:
            raise AssertionError(ended)

    atheris.Setup([argv[0], *LIMITS, *argv[2:]], try_one)
    atheris.Fuzz()


def _seed(target: Target, folder: Path) -> None:
    """The seeds in `folder`, unless something is there (or it is one input)."""
    if folder.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        for k, data in enumerate(target.seeds()):
            (folder / f"seed-{k}").write_bytes(data)


if __name__ == "__main__":
    main(sys.argv)
