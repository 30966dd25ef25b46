"""Train experiments with several seeds, one run after another or each on a device, and compare.

    python -m lensjax.sweep --configs=a1,b1,b2,b3,b4 --seeds=0,1,2 --workdir=runs/matrix

Run again, it goes on. The exit code is that of the worst verdict, or of a run that came to none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from lensjax import configuration
from lensjax.configuration import usage
from lensjax.gates.compare_experiments import SEEDS_FOR_A_CLAIM
from lensjax.runs.logs import log, run_command
from lensjax.sweep import make_plan, run_sweep
from lensjax.sweep.sweep import main_command


def main(argv: Sequence[str]) -> int:
    """Flags only; the sweep is `lensjax.sweep.run_sweep`."""
    about = str(__doc__).splitlines()[0]
    parser = configuration.Parser(prog="python -m lensjax.sweep", description=about)
    parser.add_argument(
        "--configs", required=True, metavar="A,B", help="names in configs/, or files"
    )
    parser.add_argument("--seeds", required=True, metavar="0,1,2", help="three or more for a claim")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="of the whole sweep")
    parser.add_argument("--variant", default="", metavar="NAME", help="demo or tiny; full without")
    parser.add_argument(
        "--devices",
        default="",
        metavar="0,1",
        help="GPUs as CUDA_VISIBLE_DEVICES names them: one run at a time on each, k on one that "
        "is named k times",
    )
    parser.add_argument(
        "--accept-change",
        action="store_true",
        help="resume runs although code or packages changed (recorded)",
    )
    parser.add_argument("--debug", action="store_true", help="show the sweep's own tracebacks")
    flags, overrides = parser.parse_all(argv)
    seeds = [_seed(word) for word in _words(flags.seeds)]
    plan = make_plan(_words(flags.configs), seeds, flags.variant, overrides)
    if len(seeds) < SEEDS_FOR_A_CLAIM:
        log.warning("fewer than %d seeds: nothing can be claimed", SEEDS_FOR_A_CLAIM)
    return run_sweep(
        plan,
        flags.workdir,
        devices=_devices(flags.devices),
        command=main_command(flags.accept_change),
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _seed(word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", word):
        usage(f"{word!r} is not a whole number of at least 0", "--seeds", "Give --seeds=0,1,2")
    return int(word)


def _devices(text: str) -> list[str]:
    devices = _words(text)
    for device in devices:
        if not re.fullmatch(r"[\w:/.-]+", device):
            usage(f"{device!r} is no device", "--devices", "Give ids, as in --devices=0,1")
    return devices


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
