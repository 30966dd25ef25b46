"""What a run says: console and train.log; and how every command ends.

Not the metrics, nor progress bars (lensjax.progress). The console (stderr) has what lensjax says;
train.log has all of it, with times and with the warnings of libraries. Control characters are
escaped in both. A closed terminal or pipe does not stop a run.

    def main(argv): ...            # returns an exit code, raises LensjaxError
    if __name__ == "__main__":
        sys.exit(run_command(main, sys.argv[1:]))
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from lensjax.progress import STDERR
from lensjax.runs.files import refusal
from lensjax.runs.workdir import Workdir
from lensjax.schema import ExitCode, LensjaxError, printable

OURS = ("lensjax", "__main__", "phase0", "configs")
log = logging.getLogger(__name__)


class _Format(logging.Formatter):
    """One line a message, control characters escaped; a traceback follows, indented."""

    converter = time.gmtime

    def __init__(self, form: str, tracebacks: bool):
        super().__init__(form, "%Y-%m-%dT%H:%M:%SZ")
        self._tracebacks = tracebacks

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        if not self._tracebacks:
            return ""
        lines = super().formatException(ei).splitlines()
        return "\n".join("    " + printable(line) for line in lines)

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # cached by whichever handler formatted first
        return super().format(record).rstrip("\n")


class _ConsoleFormat(_Format):
    """Messages bare, with 'warning: ' or 'error: ' before those that are."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        prefix = {logging.WARNING: "warning: ", logging.ERROR: "error: "}.get(record.levelno, "")
        return prefix + super().formatMessage(record)


class Console(logging.StreamHandler):
    """Writes above the progress bars."""

    def __init__(self, debug: bool):
        super().__init__(STDERR)
        self.setFormatter(_ConsoleFormat("%(message)s", tracebacks=debug))
        # What libraries have to say is in train.log; their tracebacks are not for the reader.
        self.addFilter(_Speakers(logging.WARNING if debug else logging.CRITICAL))

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=STDERR):
            super().emit(record)


class LogFile(logging.FileHandler):
    """Appends to train.log. A full disk must not stop the run from saying so on the console."""

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(_Format("%(asctime)s %(levelname)s %(name)s: %(message)s", True))
        self.addFilter(_Speakers(logging.WARNING))

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the record."""


class _Speakers:
    """Lets lensjax speak, and others from a level on."""

    def __init__(self, others: int):
        self._others = others

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name.split(".", 1)[0] in OURS or record.levelno >= self._others


def setup_logging(workdir: Workdir | None = None, debug: bool = False) -> None:
    """Console, and train.log in `workdir`; replaces what an earlier call set up. Logs the workdir's
    notices.

    Raises:
        LensjaxError: exit 16 if train.log cannot be written.
    """
    root = logging.getLogger()
    for handler in [h for h in root.handlers if _is_ours_or_stray(h)]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(Console(debug))
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # C++ libraries write to stderr by themselves; this is read when they are loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if workdir is None:
        return
    try:
        root.addHandler(LogFile(workdir.log))
    except OSError as error:
        raise refusal(error, str(workdir.log)) or error from None
    for notice in workdir.notices:
        log.warning(notice)


def _is_ours_or_stray(handler: logging.Handler) -> bool:
    """Ours of an earlier call, or one that a library's import left on the root logger (absl does):
    it would say everything again, tracebacks included."""
    stray = type(handler) is logging.StreamHandler or type(handler).__module__.startswith("absl")
    return stray or isinstance(handler, (Console, LogFile))


def log_file() -> Path | None:
    """The train.log in use, if there is one."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            return Path(handler.baseFilename)
    return None


def run_command(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run `main(argv)` and return the exit code, having said in one line, last, what went wrong.

    A LensjaxError gives its code, a request to stop 75, what the system refuses (disk, memory,
    permission) 16. Anything else is a bug: 1. Tracebacks go to train.log; to the console with
    --debug.
    """
    debug = "--debug" in argv
    setup_logging(None, debug)
    try:
        code = int(main(argv))
    except SystemExit as error:  # argparse after --help
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:
        log.error("interrupted. Run again to go on", exc_info=debug)
        code = int(ExitCode.STOPPED)
    except BaseException as error:
        code = _explain(error, debug)
    _let_go(sys.stdout)
    _let_go(sys.stderr)
    return code


def say(text: str = "") -> None:
    """Print a line of a result (a verdict, a table) to stdout; a closed one does not matter."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def _explain(error: BaseException, debug: bool) -> int:
    if isinstance(error, LensjaxError):
        log.error("%s", error, exc_info=error if debug else None)
        return int(error.code)
    known = refusal(error)
    if known is not None:
        log.error("%s", known, exc_info=error)
        return int(known.code)
    where = log_file()
    told = f", its traceback is in {where}" if where else ""
    text = " ".join(str(error).split())[:500]
    log.error(
        "%s: %s (a bug in lensjax%s). Rerun with --debug for the traceback",
        type(error).__name__,
        text,
        told,
        exc_info=error,
    )
    return 1


def _let_go(stream: IO[str]) -> None:
    """Flush; if the other end is gone, point the stream at nothing, or the interpreter's own flush
    at exit would fail too and turn the exit code into 120."""
    try:
        stream.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    except (OSError, ValueError):
        return
