"""StampSets from the TFRecord files of the TFDS set `lens_stamps`, through tf.data.

Not verified against a manifest: `prepared` sees to that; the CRC of each record is checked by
TensorFlow. TensorFlow is imported inside the functions, as importing it takes many seconds and
some machines have none.

    >>> test = read_tfds(folder, "simulated_demo", "test", n=2000, memory_dir=cache_dir)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lensjax import schema
from lensjax.data.stampset import StampSet, allocate_stamps
from lensjax.data.tfds_set import open_tfds, quiet, quiet_tensorflow
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

READ_BATCH = 128
PREFETCH = 2


def read_tfds(folder: Path, config: str, split: str, n: int, memory_dir: Path) -> StampSet:
    """The StampSet of `split`, its `n` rows put in place by their `row`, through tf.data.

    `memory_dir` takes the stamps if they are too many for memory. Raises LensjaxError
    (DATA_INVALID) if a row is missing, twice or out of range, or a record is damaged."""
    tf = quiet_tensorflow()
    builder = open_tfds(folder, config)
    import tensorflow_datasets as tfds  # heavy and optional: see above

    stamps = allocate_stamps(n, memory_dir)
    table = {name: np.zeros(n, dtype) for name, dtype in schema.TABLE_COLUMNS.items()}
    seen = np.zeros(n, np.int64)
    with quiet():
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


def read_labels(folder: Path, config: str, split: str) -> dict[str, np.ndarray]:
    """The columns `stamp_id` (str) and `label` (int8) of `split` alone, in any order. Raises
    LensjaxError (DATA_INVALID) for a damaged record."""
    tf = quiet_tensorflow()
    builder = open_tfds(folder, config)
    import tensorflow_datasets as tfds  # heavy and optional: see above

    wanted = tfds.decode.PartialDecoding({"stamp_id": True, "label": True})
    with quiet():
        examples = builder.as_dataset(split=split, decoders=wanted, shuffle_files=False)
    try:
        found = [(e["stamp_id"].decode(), e["label"]) for e in examples.as_numpy_iterator()]
    except tf.errors.OpError as error:
        what = f"a record is damaged: {type(error).__name__}"
        raise LensjaxError(ExitCode.DATA_INVALID, what, str(folder)) from error
    ids, labels = zip(*found, strict=True) if found else ((), ())
    return {"stamp_id": np.array(ids, "U64"), "label": np.array(labels, np.int8)}


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
