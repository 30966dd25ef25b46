"""Train a lens finder: check the data, preflight, train, evaluate, gate, report.

    python main.py --config=configs/b3.py:demo --workdir=runs/demo

Run again, it resumes where it stopped. The exit code is that of the verdict, or says what
stopped it (docs/formats.md).
"""

import sys
from collections.abc import Sequence

from lensjax import configuration
from lensjax.runs.logs import run_command


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
        "--debug", action="store_true", help="tracebacks; such a run is never evidence"
    )
    flags, overrides = parser.parse_all(argv)
    config = configuration.load_config(flags.config, overrides)
    # jax and all else: worker processes import this file, and need none of it
    from lensjax.job import run

    return run(
        config,
        flags.workdir,
        fresh=flags.fresh,
        accept_change=flags.accept_change,
        debug=flags.debug,
    )


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
