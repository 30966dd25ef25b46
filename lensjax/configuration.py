"""From the command line to a locked config: files, variants, overrides, and their mistakes.

A config file defines `get_config(variant) -> ConfigDict`. Every leaf can be set from the command
line; a misspelt field, a wrong type, a stray word or a field given twice ends in exit 2 with the
nearest right name, never in a traceback and never unnoticed.

    config, flags = load(["--config=configs/b3.py:demo", "--config.epochs=3", "--workdir=runs/b3"])
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ml_collections import ConfigDict as Config

from lensjax import schema
from lensjax.data.npz import is_pickle
from lensjax.data.prepared import READERS, resolve_reader
from lensjax.data.source import FLAT_SOURCES, SIMULATED, SOURCES
from lensjax.schema import ExitCode, LensjaxError

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "--config."

# What a field, or each number of a tuple, may be: the smallest and the largest value, or the words.
LARGEST_SEED = 2**32 - 1  # the largest that jax tells from the others
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, LARGEST_SEED),
    "epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "patience": (1, math.inf),
    "data.seed": (0, LARGEST_SEED),
    "data.proportions": (0, 1),
    "data.pairs": (0, math.inf),
    "data.lookalikes": (0, math.inf),
    "data.hosts_per_brick": (1, math.inf),
    "data.zero_point": (0, 100),
    "data.pixel_scale_arcsec": (0.01, 10),
    "data.workers": (0, 1024),
    "catalogue_stamps.zero_point": (0, 100),
    "catalogue_stamps.pixel_scale_arcsec": (0.01, 10),
    "model.width": (1, math.inf),
    "model.asinh_softening": (0, math.inf),
    "preprocessing.clip": (1e-6, math.inf),
    "augment.hard_negative_fraction": (0, 1),
    "core_dropout.soft_edge_px": (0, math.inf),
    "optimizer.learning_rate": (0, math.inf),
    "optimizer.final_learning_rate": (0, math.inf),
    "optimizer.weight_decay": (0, math.inf),
    "optimizer.warmup_fraction": (0, 1),
    "optimizer.clip_norm": (0, math.inf),
    "optimizer.label_smoothing": (0, 1),
    "optimizer.ema_decay": (0, 1),
    "divergence.factor": (1, 1e4),
    "divergence.steps": (1, 10_000),
    "checkpoint.every_steps": (1, math.inf),
}
WORDS: dict[str, tuple[str, ...]] = {
    "data.source": tuple(SOURCES),
    "data.reader": ("auto", *READERS),
    "data.pairing": schema.PAIRINGS,
    "catalogue_stamps.source": FLAT_SOURCES,
    "preprocessing.name": schema.PREPROCESSINGS,
    "core_dropout.mode": schema.DROPOUT_MODES,
    "model.conv": schema.CONVOLUTIONS,
    "model.dtype": schema.MODEL_DTYPES,
}
_MAY_BE_NONE = (
    "data.proportions",
    "data.zero_point",
    "data.pixel_scale_arcsec",
    "catalogue_stamps.zero_point",
    "catalogue_stamps.pixel_scale_arcsec",
)
SPANS = {"population.theta_e": 3.0, "population.arc_snr": 1e4}  # 0 < low <= high <= this
# What the name of the config file and its variant decide: set by hand, they would make a run
# something that it is not.
DECIDED_BY_NAME = {"experiment": "FILE", "variant": "FILE:variant"}


def usage(what: str, where: str = "", remedy: str = "") -> NoReturn:
    """Raise the error of a wrong command line (exit 2)."""
    raise LensjaxError(ExitCode.USAGE, what, where, remedy)


def nearest(word: str, known: Iterable[str]) -> str:
    """'Did you mean X?', or the list of what is known."""
    known = list(known)
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f"Did you mean {match[0]}?" if match else f"Known: {', '.join(sorted(known))}"


class Parser(argparse.ArgumentParser):
    """argparse, with errors as LensjaxError and no guessing of abbreviations."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        usage(message, remedy=f"See {self.prog} --help")

    def flags(self) -> list[str]:
        """Every long flag."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def parse_all(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[tuple[str, str]]]:
        """The flags, and the (field, text) pairs of `--config.field=text`.

        Raises:
            LensjaxError: exit 2 for an unknown flag (names the nearest), a stray word, or a flag
                given twice.
        """
        overrides, rest = _split_overrides(argv)
        named = [word.split("=", 1)[0] for word in rest if word.startswith("--")]
        for name in named:
            if named.count(name) > 1:
                usage(f"{name} is given twice", remedy="Give it once")
        for name in named:  # before argparse says that a misspelt flag is missing
            if name not in self.flags():
                usage(f"unknown flag {name}", remedy=nearest(name, self.flags()))
        flags, unknown = self.parse_known_args(rest)
        for word in unknown:
            if word.startswith("-"):
                name = word.split("=", 1)[0]
                usage(f"unknown flag {name}", remedy=nearest(name, self.flags()))
            usage(
                f"stray argument {word!r}", remedy="Config fields are set as --config.FIELD=VALUE"
            )
        return flags, overrides


def _split_overrides(argv: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    overrides: list[tuple[str, str]] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if not word.startswith(PREFIX):
            rest.append(word)
            continue
        name, equals, text = word[len(PREFIX) :].partition("=")
        if not equals:
            text = next(words, "")
        if name in dict(overrides):
            usage(f"--config.{name} is given twice", remedy="Give it once")
        overrides.append((name, text))
    return overrides, rest


def add_config_flag(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """`--config=FILE[:variant]`."""
    parser.add_argument(
        "--config",
        required=required,
        metavar="FILE[:variant]",
        help="experiment, e.g. configs/b3.py, configs/b3.py:demo or configs/b3.py:tiny; "
        "any field is set by --config.FIELD=VALUE",
    )


def load_config(spec: str, overrides: Sequence[tuple[str, str]] = ()) -> Config:
    """The locked config of `FILE[:variant]` with `overrides` applied, its values and the protocol
    that it names checked: nothing is read, simulated or set aside for a config that cannot be.

    Raises:
        LensjaxError: exit 2 for a missing or faulty file, an unknown variant, field, type or
            value, and a protocol that is none; 16 for a cache folder that cannot be made; 17 for a
            pickle.
    """
    name, _, variant = spec.partition(":")
    path = _find(name)
    config = _get_config(path, variant)
    config.lock()
    for field, text in overrides:
        _set(config, field, text)
    check_values(config, str(path))
    if config.data.root is not None and config.data.source == SIMULATED:
        config.data.source = "parquet"
    if config.data.source != SIMULATED and "data.proportions" not in dict(overrides):
        with config.unlocked(), config.ignore_type():
            config.data.proportions = None  # the user's own: measured, and enforced when stated
    _check_use(config)
    return config


def check_values(config: Config, where: str = "the config") -> None:
    """Raises LensjaxError (exit 2) for the first field that is missing (in `where`), or outside
    RANGES, WORDS, SPANS, or the form of the schedule."""
    values = fields(config)
    for name in (*RANGES, *WORDS, *SPANS, "core_dropout.schedule"):
        if name not in values:
            usage(f"lacks the field {name}", where, "configs/common.py has them all")
    for name, (low, high) in RANGES.items():
        value = values[name]
        if value is None and name in _MAY_BE_NONE:
            continue
        numbers: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if not (_is_number(number) and low <= number <= high):
                usage(f"{value!r} is not within {low:g} .. {high:g}", f"--config.{name}")
    for name, words in WORDS.items():
        if values[name] not in words:
            word = str(values[name])
            usage(f"unknown word {word!r}", f"--config.{name}", nearest(word, words))
    for name, most in SPANS.items():
        _check_span(name, values[name], most)
    shares = values["data.proportions"]
    if shares is not None and abs(sum(shares) - 1.0) > 0.01:
        usage(f"{shares!r} do not add up to 1", "--config.data.proportions")
    _check_schedule(values["core_dropout.schedule"])


def _check_span(name: str, span: Any, most: float) -> None:
    pair = isinstance(span, tuple) and len(span) == 2 and all(map(_is_number, span))
    if not (pair and 0 < span[0] <= span[1] <= most):
        usage(
            f"{span!r} is not a span within 0 and {most:g}",
            f"--config.{name}",
            f"Give two rising numbers, as in --config.{name}='(1.5, 2.5)'",
        )


def _check_schedule(schedule: Any) -> None:
    where = "--config.core_dropout.schedule"
    for stage in schedule:
        numbers = isinstance(stage, tuple) and len(stage) == 3 and all(map(_is_number, stage))
        if not (numbers and stage[1] >= 0 and 0 <= stage[2] <= 1):
            usage(f"{stage!r} is not (start, radius, probability)", where)
    starts = [stage[0] for stage in schedule]
    if not starts or starts[0] != 0 or starts != sorted(starts) or starts[-1] > 1:
        usage(f"the starts {starts} must begin at 0 and rise, as fractions of the epochs", where)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _check_use(config: Config) -> None:
    """What the values stand for must be there: root, reader, protocol, cache folder."""
    source = config.data.source
    if source != SIMULATED and not config.data.root:
        usage(f"data.source={source} needs data.root", remedy="--config.data.root=DIR")
    if config.data.manifest and source == SIMULATED:
        usage(
            "data.manifest is of the files of a data root, and no root is given",
            remedy="Name it with --config.data.root=DIR",
        )
    _check_catalogue_stamps(config)
    if config.data.reader != "auto":
        resolve_reader(config.data.reader)
    # whoever loads a config reads the protocol anyhow; the import of this file alone stays light
    from lensjax.checks.protocol import phase0_rules
    from lensjax.gates.protocol import load_protocol

    phase0_rules(load_protocol(protocol_path(config)).document)
    _check_cache(config.data.cache_dir)


def _check_catalogue_stamps(config: Config) -> None:
    """Stamps need their catalogue; what is told of stamps that are not given would do nothing."""
    from lensjax.data.kinds import TOLD  # as above

    stamps = config.catalogue_stamps
    for name in ("anchors", "contaminants"):
        if stamps[name] and not config.data[name]:
            usage(
                f"needs the catalogue that they are of, data.{name}",
                f"--config.catalogue_stamps.{name}",
                f"Add --config.data.{name}=FILE, a CSV",
            )
    given = stamps.anchors or stamps.contaminants
    if idle := [name for name in TOLD if stamps[name] and not given]:
        usage(
            "is told of stamps that are not given",
            f"--config.catalogue_stamps.{idle[0]}",
            "Give --config.catalogue_stamps.anchors=DIR or .contaminants=DIR",
        )


def _check_cache(name: str) -> None:
    """Raises LensjaxError (exit 16) for a cache folder that cannot be made or written to: a folder
    is made where it would be, and taken away again."""
    folder = Path(os.path.abspath(os.path.expanduser(name)))
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    try:
        with tempfile.TemporaryDirectory(prefix=".lensjax-", dir=there):
            return
    except OSError as error:
        raise LensjaxError(
            ExitCode.RESOURCE,
            f"the cache folder cannot be written to ({there}: {error.strerror or error})",
            str(folder),
            "Name another with --config.data.cache_dir=DIR",
        ) from error


def _find(name: str) -> Path:
    for path in (Path(name), ROOT / name):
        if path.is_file():
            _refuse_pickle(path)
            if path.suffix != ".py":
                usage("a config is a Python file", where=name, remedy="Try configs/b3.py")
            return path
    known = [f"configs/{path.name}" for path in (ROOT / "configs").glob("*.py")]
    usage("no such config file", where=name, remedy=nearest(name, known))


def _refuse_pickle(path: Path) -> None:
    """Raises LensjaxError (exit 17) for a pickle, which runs code when it is loaded."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError as error:
        usage(f"cannot be read: {error.strerror}", str(path))
    if path.suffix in (".pkl", ".pickle") or is_pickle(head):
        raise LensjaxError(
            ExitCode.REFUSED_INPUT,
            "a pickle, which may hold any code: a config is a Python file that can be read",
            str(path),
            "Do not load it; configs/b3.py shows the form",
        )


def _get_config(path: Path, variant: str) -> Config:
    if str(ROOT) not in sys.path:  # config files import `configs.common`
        sys.path.insert(0, str(ROOT))
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        usage("not a Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            usage("has no get_config(variant)", str(path), "configs/b3.py shows the form")
        config = module.get_config(variant)
    except LensjaxError:
        raise
    except (Exception, SystemExit) as error:
        told = " ".join(str(error).split())[:300]
        usage(f"raises {type(error).__name__}: {told}", str(path), "Mend the config file")
    if not isinstance(config, Config):
        usage("get_config(variant) gives no ConfigDict", str(path), "configs/b3.py shows the form")
    return config


def fields(config: Config, prefix: str = "") -> dict[str, Any]:
    """Every leaf: 'data.root' -> value."""
    found: dict[str, Any] = {}
    for key in config:
        value = config[key]
        if isinstance(value, Config):
            found.update(fields(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _set(config: Config, field: str, text: str) -> None:
    known = fields(config)
    if field not in known:
        usage(f"unknown config field {field}", remedy=nearest(field, known))
    if field in DECIDED_BY_NAME:
        usage("cannot be set", f"--config.{field}", f"Name it as --config={DECIDED_BY_NAME[field]}")
    *parents, leaf = field.split(".")
    for parent in parents:
        config = config[parent]
    config[leaf] = _typed(field, text, known[field], config.get_type(leaf))


def _typed(field: str, text: str, default: Any, kind: type) -> Any:
    """`text` as a value of the field's own type; tuples element by element."""
    if kind is str:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if isinstance(value, tuple) and _numbers(default) and _numbers(value):
        value = tuple(
            type(d)(v) if type(d) is float else v for d, v in zip(default, value, strict=False)
        )
        fits = kind is tuple and [type(v) for v in value] == [type(d) for d in default]
    else:
        fits = type(value) is kind and not _numbers(default)
    if not fits and not (value is None and field == "data.proportions"):
        usage(
            f"{text!r} is not of type {kind.__name__}",
            where=f"--config.{field}",
            remedy=f"The default is {default!r}",
        )
    return value


def _numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(x) in (int, float) for x in value) and value != ()


def to_json(config: Config) -> dict[str, Any]:
    """The config as JSON would give it back (tuples as lists)."""
    return json.loads(json.dumps(config.to_dict()))


def protocol_path(config: Config) -> Path:
    """The protocol file, relative to the working directory or to the project.

    Raises:
        LensjaxError: exit 2 when it is in neither.
    """
    for path in (Path(config.protocol), ROOT / config.protocol):
        if path.is_file():
            return path
    known = [f"configs/protocols/{p.name}" for p in (ROOT / "configs/protocols").glob("*.json")]
    usage("no such protocol file", where=config.protocol, remedy=nearest(config.protocol, known))
