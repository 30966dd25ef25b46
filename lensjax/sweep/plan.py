"""What a sweep is to run: every config with every seed, each validated before anything starts.

Not the running (sweep) and not the record (record). A run's name is its config's and its seed.

    plan = make_plan(["a1", "configs/b3.py"], [0, 1, 2], variant="demo", overrides=[])
    plan.runs[0].name, plan.runs[0].arguments        # 'a1-seed0', ['--config=...', ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensjax import configuration
from lensjax.configuration import ROOT, nearest, usage
from lensjax.runs.provenance import PLACES


@dataclass(frozen=True)
class Planned:
    """One run. spec: FILE:variant; arguments: main.py's, but for --workdir."""

    name: str
    experiment: str
    spec: str
    seed: int
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All runs, config by config, and each config's fields by name, without seed and places."""

    runs: tuple[Planned, ...]
    configs: dict[str, dict[str, Any]]


def make_plan(
    configs: Sequence[str],
    seeds: Sequence[int],
    variant: str = "",
    overrides: Sequence[tuple[str, str]] = (),
) -> Plan:
    """Every config with every seed.

    configs: names of files in configs/ (`b3`) or files; overrides: (field, text) pairs for all
    runs, as main.py takes them; data.seed is as in the configs unless one says otherwise.

    Raises:
        LensjaxError: exit 2 for a config, seed, variant or field that cannot be, for one given
            twice, and for a seed among the overrides.
    """
    if "seed" in dict(overrides):
        usage("is what a sweep varies", "--config.seed", "Give --seeds=0,1,2")
    files = [_file(word) for word in configs]
    names = [Path(file).stem for file in files]
    _once(names, "--configs")
    _once([str(seed) for seed in seeds], "--seeds")
    runs, documents = [], {}
    for name, file in zip(names, files, strict=True):
        spec = f"{file}:{variant}" if variant else file
        for seed in seeds:
            told = [*overrides, ("seed", str(seed))]
            config = configuration.load_config(spec, told)
            arguments = [f"{configuration.PREFIX}{field}={text}" for field, text in told]
            run = Planned(f"{name}-seed{seed}", name, spec, seed, (f"--config={spec}", *arguments))
            runs.append(run)
            documents[name] = _kept(configuration.fields(config))
    return Plan(tuple(runs), documents)


def _file(word: str) -> str:
    """`configs/b3.py` of `b3`; a file's own name as it is."""
    if ":" in word:
        usage(f"{word!r} names a variant", "--configs", "Give it to all with --variant=demo")
    if word.endswith(".py"):
        return word
    known = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "common")
    if word not in known:
        usage(f"no config is called {word!r}", "--configs", nearest(word, known))
    return f"configs/{word}.py"


def _once(words: Sequence[str], flag: str) -> None:
    if not words:
        usage("names none", flag, "Give one or more, with commas between")
    for word in words:
        if words.count(word) > 1:
            usage(f"{word} is given twice", flag, "Give it once")


def _kept(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields that make an experiment what it is."""
    left_out = {"seed", *(name.removeprefix("config.") for name in PLACES)}
    return {name: value for name, value in fields.items() if name not in left_out}
