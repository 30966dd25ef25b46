"""StampSets to and from the TFDS set `lens_stamps`, through tf.data.

Not atomic and not verified: `prepared` sees to both. TensorFlow is imported inside the functions,
as importing it takes many seconds and some machines have none.

    >>> write_tfds(sets, folder, "simulated_demo")
    >>> test = read_tfds(folder, "simulated_demo", "test", n=2000, memory_dir=cache_dir)
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.data.stampset import StampSet, allocate_stamps
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

READ_BATCH = 128
PREFETCH = 2


def write_tfds(sets: Mapping[str, StampSet], folder: Path, config: str) -> None:
    """Write `sets` (by split) as TFRecord files of lens_stamps/`config` under `folder`."""
    builder = _builder(folder, config, sets=sets, file_format="tfrecord")
    with _quiet():
        builder.download_and_prepare()


def read_tfds(folder: Path, config: str, split: str, n: int, memory_dir: Path) -> StampSet:
    """The StampSet of `split`, its `n` rows put in place by their `row`, through tf.data.

    `memory_dir` takes the stamps if they are too many for memory. Raises LensjaxError
    (DATA_INVALID) if a row is missing, twice or out of range, or a record is damaged."""
    builder = _builder(folder, config)
    import tensorflow as tf  # heavy and optional: see above
    import tensorflow_datasets as tfds

    stamps = allocate_stamps(n, memory_dir)
    table = {name: np.zeros(n, dtype) for name, dtype in schema.TABLE_COLUMNS.items()}
    seen = np.zeros(n, np.int64)
    with _quiet():
        options = tfds.ReadConfig(try_autocache=False)
        examples = builder.as_dataset(split=split, shuffle_files=False, read_config=options)
    batches = examples.batch(READ_BATCH).prefetch(PREFETCH).as_numpy_iterator()
    with progress_bar(total=n, desc=f"loading {split}", unit="stamp") as bar:
        try:
            for batch in batches:
                _put(batch, stamps, table, seen)
                bar.update(len(batch["row"]))
        except (tf.errors.OpError, IndexError) as error:
            raise LensjaxError(
                ExitCode.DATA_INVALID, f"a record is damaged: {type(error).__name__}", str(folder)
            ) from error
    if not np.all(seen == 1):
        what = f"{np.count_nonzero(seen == 0)} rows are missing, {(seen > 1).sum()} are there twice"
        raise LensjaxError(ExitCode.DATA_INVALID, what, where=str(folder))
    return StampSet(split, table, stamps, "tf.data")


def _put(
    batch: dict[str, np.ndarray], stamps: np.ndarray, table: dict[str, np.ndarray], seen: np.ndarray
) -> None:
    """Put the examples of `batch` in their rows."""
    rows = batch["row"]
    if rows.min() < 0:
        raise IndexError(f"row {rows.min()}")
    stamps[rows] = batch["stamp"]
    for name, column in table.items():
        values = batch[name]
        if column.dtype.kind == "U":
            values = np.char.decode(values.astype(np.bytes_), "utf-8")
        column[rows] = values
    np.add.at(seen, rows, 1)


def _builder(folder: Path, config: str, **options: Any) -> Any:
    """The TFDS builder, TensorFlow kept off the GPUs (jax wants all of their memory)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its C++ side talks at every import,
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # of oneDNN whatever the level
    import tensorflow as tf  # heavy and optional: see above

    tf.config.set_visible_devices([], "GPU")
    from lensjax.data.lens_stamps.lens_stamps_dataset_builder import Builder

    with _quiet():
        return Builder(config=config, data_dir=str(folder), **options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what TFDS says of itself: that it is "downloading" (it is not), and advice to its
    own developers. Errors pass."""
    import tensorflow_datasets as tfds  # heavy and optional: see above

    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    tfds.disable_progress_bar()  # shows from the first second; ours waits
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        absl.setLevel(level)
