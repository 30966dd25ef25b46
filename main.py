"""Train a lens finder: check the data, preflight, train, evaluate, gate, report.

    python main.py --config=configs/b3.py:demo --workdir=runs/demo

Run again, it resumes where it stopped. The exit code is that of the verdict, or says what
stopped it (docs/formats.md).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lensjax import configuration
from lensjax.runs import detached
from lensjax.runs.logs import log, run_command, setup_logging
from lensjax.runs.signals import StopRequest
from lensjax.runs.workdir import open_workdir


def main(argv: Sequence[str]) -> int:
    """Flags only; the job is `lensjax.job.run`."""
    parser = configuration.Parser(prog="main.py", description=str(__doc__).splitlines()[0])
    configuration.add_config_flag(parser)
    parser.add_argument("--workdir", required=True, metavar="DIR", help="all that the run writes")
    parser.add_argument(
        "--fresh", action="store_true", help="set an old run aside inside DIR and start over"
    )
    parser.add_argument(
        "--accept-change",
        action="store_true",
        help="resume although config, code or packages changed (recorded)",
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="run in the background, whatever becomes of this terminal; what is said is in "
        "DIR/console.log",
    )
    parser.add_argument(
        "--debug", action="store_true", help="tracebacks; such a run is never evidence"
    )
    flags, overrides = parser.parse_all(argv)
    config = configuration.load_config(flags.config, overrides)
    if flags.detach:
        return _detach(argv, flags.workdir, flags.fresh)
    with open_workdir(flags.workdir, fresh=flags.fresh) as workdir, StopRequest() as stop:
        setup_logging(workdir, flags.debug)
        # jax and all else after the lock: a second run is refused before it loads anything. And
        # worker processes import this file, and need none of it.
        from lensjax.job import run

        stop.raise_if_requested()
        return run(config, workdir, stop, accept_change=flags.accept_change, debug=flags.debug)


def _detach(argv: Sequence[str], path: str, fresh: bool) -> int:
    """Start the same command in a session of its own. An old run is set aside here: the folder has
    to be as the new one finds it before anything is written there."""
    with open_workdir(path, fresh=fresh) as workdir:
        for notice in workdir.notices:
            log.warning(notice)
    rest = [word for word in argv if word not in ("--detach", "--fresh")]
    command = [sys.executable, str(Path(__file__).resolve()), *rest]
    return detached.start(command, workdir.path)


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
