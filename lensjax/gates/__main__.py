"""Judge a run again from its saved arrays alone, and print every gate.

    python -m lensjax.gates --workdir=runs/b3
    python -m lensjax.gates compare runs/a1 runs/b3      # see compare --help

gates.json and measures.json are written anew where they are not what the arrays give. Under another
protocol the judgement is printed only. Needs no jax: it runs wherever numpy, scipy and scikit-learn
do.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lensjax.gates import compare_command, examine, exit_code, load_protocol, table, write
from lensjax.gates.arrays import read_manifest
from lensjax.gates.compare_sweep import note
from lensjax.gates.protocol import Protocol, first_difference
from lensjax.gates.record import (
    GATES,
    count_opening,
    encoded,
    files,
    openings,
    parsed,
    refusal,
    stored_protocol,
)
from lensjax.schema import ExitCode, LensjaxError, printable

_EPILOG = (
    "exit codes: 0 GREEN, 20 a required gate failed, 21 not proven, 22 arrays or a required gate's "
    "input unusable, 12 another protocol, 2 usage; of a run that phase 0 refused: 10, 11, 12 or 17"
)


class _Parser(argparse.ArgumentParser):
    def names(self) -> list[str]:
        """Every flag."""
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        raise LensjaxError(ExitCode.USAGE, message, "", f"See {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; whatever stops it is one line on stderr."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if argv[:1] == [compare_command.NAME]:
            return int(_compare(_compare_flags(argv[1:])))
        return int(_judge(_flags(argv)))
    except LensjaxError as error:
        return _failed(error.code, str(error), argv)
    except KeyboardInterrupt:
        return _failed(ExitCode.STOPPED, "interrupted. Run it again", argv)
    except MemoryError:
        return _failed(ExitCode.RESOURCE, "out of memory. Use a machine with more", argv)
    except Exception as error:
        text = " ".join(str(error).split())[:500]
        bug = f"{type(error).__name__}: {text} (a bug in lensjax). --debug shows the traceback"
        return _failed(1, bug, argv)


def _flags(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser("python -m lensjax.gates", __doc__, _EPILOG)
    parser.add_argument("--workdir", required=True, metavar="DIR", help="the run's directory")
    parser.add_argument("--protocol", metavar="FILE", help="another one than the run's own")
    parser.add_argument("--json", action="store_true", help="print JSON, not tables")
    return _parsed(parser, argv)


def _compare_flags(argv: Sequence[str]) -> argparse.Namespace:
    prog = f"python -m lensjax.gates {compare_command.NAME}"
    parser = _parser(prog, compare_command.__doc__, compare_command.EPILOG)
    compare_command.add_flags(parser)
    return _parsed(parser, argv)


def _parser(prog: str, description: str | None, epilog: str) -> _Parser:
    return _Parser(
        prog,
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _parsed(parser: _Parser, argv: Sequence[str]) -> argparse.Namespace:
    """Raises LensjaxError (exit 2) for an unknown flag, naming the nearest, or one given twice."""
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    names = [word.split("=", 1)[0] for word in argv if word.startswith("-")]
    known = parser.names()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise LensjaxError(ExitCode.USAGE, f"unknown flag {name}", "", f"Did you mean {near}?")
        if names.count(name) > 1:
            raise LensjaxError(ExitCode.USAGE, f"{name} is given twice", "", "Give it once")
    return parser.parse_args(argv)


def _judge(flags: argparse.Namespace) -> ExitCode:
    workdir = Path(flags.workdir)
    if not workdir.is_dir():
        raise LensjaxError(
            ExitCode.USAGE, "no such run directory", flags.workdir, "Give the --workdir of a run"
        )
    judged = refusal(workdir)
    if judged is None:
        begun = read_manifest(workdir)["protocol_digest"]
        if flags.protocol is not None:
            rules = load_protocol(flags.protocol)
            if rules.digest != begun:
                return _under_another(flags, workdir, begun, rules)
        else:
            rules = stored_protocol(workdir, begun)
        judged = examine(workdir, rules)
    _put(workdir, judged)
    if flags.json:
        _print(encoded(judged).decode().rstrip("\n"))
    else:
        _print("\n".join(filter(None, (openings(workdir), table(judged)))))
    if sweep := note(workdir):
        _say(sweep)
    return exit_code(judged)


def _compare(flags: argparse.Namespace) -> ExitCode:
    """Compare runs and print the tables; how far it is stands on a terminal alone."""
    advance = _say if sys.stderr.isatty() else lambda name: None
    _print(compare_command.compared(flags, advance).rstrip("\n"))
    return ExitCode.OK


def _under_another(
    flags: argparse.Namespace, workdir: Path, begun: str, rules: Protocol
) -> ExitCode:
    """Print the judgement under a protocol that is not the run's; gates.json stays as it is."""
    judged = examine(workdir, rules, other_protocol=True)
    count_opening(workdir, judged)
    if flags.json:
        _print(encoded({"other_protocol": True, **judged}).decode().rstrip("\n"))
    else:
        _print(f"other protocol: not the verdict on this run\n\n{table(judged)} (other protocol)")
    try:
        own = stored_protocol(workdir, begun)
        difference = first_difference(own.document, rules.document)
    except LensjaxError:
        difference = f"digest: {begun[:12]} -> {rules.digest[:12]}"
    _say(
        f"{flags.protocol}: other protocol than the run's, first difference {difference}. "
        f"{GATES} is left as it is; leave --protocol out for the run's own verdict"
    )
    return ExitCode.MISMATCH


def _put(workdir: Path, judged: Mapping[str, Any]) -> None:
    """Write gates.json and measures.json, naming what differed in those that were there."""
    contents = files(judged)
    before = {name: _content(workdir / name) for name in contents}
    write(workdir, judged)
    for name, content in contents.items():
        was = before[name]
        if was is None or was == content:
            continue
        old = parsed(was)
        difference = "no JSON object" if old is None else first_difference(old, parsed(content))
        _say(
            f"{workdir / name}: was not what the arrays give ({difference or 'its layout'}): "
            "edited, or of other versions of the libraries. Written anew; a report.html made "
            "before shows the old one until python -m lensjax.report writes it again"
        )


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _failed(code: int, text: str, argv: Sequence[str]) -> int:
    if "--debug" in argv:
        traceback.print_exc()
    _say(f"error: {printable(text)}")
    return int(code)


def _print(text: str) -> None:
    """To stdout; a closed one does not matter."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
