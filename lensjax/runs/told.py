"""Runs in words: one in a few lines, many in a table, one as JSON.

Nothing is looked at here: `look` has seen it.

    print(status(look(folder)))
    print(table([look(folder) for folder in folders]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lensjax.runs import lock
from lensjax.runs.look import Look
from lensjax.schema import printable

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_COLUMNS = ("run", "state", "step", "epoch", "val AUROC", "left", "verdict")


def status(seen: Look) -> str:
    """A few lines on one run."""
    lines = [f"{seen.folder}: {seen.state}{after(seen.verdict)}"]
    if seen.is_alive:
        lines.append(f"  {lock.named(seen.holder)}")
    if seen.beat:
        lines.append(f"  {_position(seen)}")
    if seen.epoch:
        lines.append(f"  {_epoch(seen.epoch)}")
    return printable_lines(lines)


def table(runs: Sequence[Look]) -> str:
    """A line a run, in columns."""
    rows = [_COLUMNS, *(_row(seen) for seen in runs)]
    wide = [max(len(row[k]) for row in rows) for k in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, wide, strict=True)) for row in rows]
    return printable_lines([line.rstrip() for line in lines])


def as_json(seen: Look) -> dict[str, Any]:
    """What is known of one run, for programs."""
    return {
        "workdir": str(seen.folder),
        "state": seen.state,
        "alive": seen.is_alive,
        "holder": dict(seen.holder),
        "heartbeat": dict(seen.beat),
        "heartbeat_age_s": seen.age_s,
        "left_s": seen.left_s,
        "epoch": dict(seen.epoch),
        "verdict": seen.verdict,
    }


def after(text: str | None) -> str:
    """', text', or nothing."""
    return f", {text}" if text else ""


def span(seconds: float) -> str:
    """A time in the two largest units that matter: '3 h 12 min', '41 s'."""
    for size, unit in _UNITS:
        if seconds >= size:
            smaller = next((s, u) for s, u in (*_UNITS, (1, "s")) if s < size)
            rest = int(seconds % size // smaller[0])
            return f"{int(seconds // size)} {unit}" + (f" {rest} {smaller[1]}" if rest else "")
    return f"{seconds:.0f} s"


def printable_lines(lines: Sequence[str]) -> str:
    """Lines, control characters in them escaped."""
    return "\n".join(map(printable, lines))


def _position(seen: Look) -> str:
    beat = seen.beat
    total, rate = beat.get("total_steps"), beat.get("steps_per_s")
    parts = [f"step {beat.get('step')}" + (f" of {total}" if total else "")]
    if seen.is_alive and rate:
        parts.append(f"{rate:.3g} steps/s")
    if seen.left_s is not None:
        parts.append(f"about {span(seen.left_s)} of training left")
    parts.append(f"last good step {beat.get('last_good_step')}")
    if seen.age_s is not None:
        parts.append(f"heartbeat {span(seen.age_s)} ago")
    return ", ".join(parts)


def _epoch(epoch: Mapping[str, Any]) -> str:
    return (
        f"epoch {epoch.get('epoch')}: loss train {_number(epoch.get('train_loss'))} "
        f"val {_number(epoch.get('val_loss'))}, AUROC val {_number(epoch.get('val_auroc'))}, "
        f"{epoch.get('stamps_per_s')} stamps/s"
    )


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "unknown"


def _row(seen: Look) -> tuple[str, ...]:
    beat, auroc = seen.beat, seen.epoch.get("val_auroc")
    total = beat.get("total_steps")
    planned = seen.config.get("epochs")
    return (
        str(seen.folder),
        seen.state,
        f"{beat['step']}/{total}" if total else str(beat.get("step", "")),
        f"{seen.epoch.get('epoch', 0)}/{planned}" if planned else "",
        _number(auroc) if auroc is not None else "",
        span(seen.left_s) if seen.left_s is not None else "",
        seen.verdict or "",
    )
