"""The TFDS builder `lens_stamps`: validated StampSets as TFRecord files.

Not a reader of raw data and not a downloader: it writes the StampSets that it is handed and
reads them back; `lensjax.data.prepared` does both, atomically and with digests. One example a
stamp: the pixels, all columns of the table, and `row`, its place in the canonical order.

    >>> builder = Builder(config="parquet", data_dir=folder, sets={"test": test})
    >>> builder.download_and_prepare()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from lensjax import schema
from lensjax.data.stampset import StampSet
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

CONFIGS = {
    "simulated_full": "Simulated by lensjax for the full experiments.",
    "simulated_demo": "Simulated by lensjax for the demo variants.",
    "simulated_tiny": "Simulated by lensjax for the tiny variants (tests).",
    "parquet": "A user's paired stamps in Parquet files.",
}


class Builder(tfds.core.GeneratorBasedBuilder):
    """Writes and reads the examples of lens_stamps."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (what TFDS asks for)
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name, description=text) for name, text in CONFIGS.items()
    ]

    def __init__(self, *, sets: Mapping[str, StampSet] | None = None, **options: Any):
        """`sets` by split, to be written; None to read what was written. `options` are those of
        TFDS (config, data_dir, file_format)."""
        self._sets = sets
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        columns = {name: _feature(dtype) for name, dtype in schema.TABLE_COLUMNS.items()}
        stamp = tfds.features.Tensor(shape=schema.STAMP_SHAPE, dtype=np.float32, encoding="bytes")
        # Shuffled by hashes of `row` when written: TFDS's unshuffled writer holds a whole split in
        # memory, the shuffled one at most 1 GiB. `row` restores the canonical order.
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"row": np.int64, "stamp": stamp, **columns})
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        del dl_manager  # nothing is downloaded
        if self._sets is None:
            raise LensjaxError(
                ExitCode.DATA_INVALID,
                "the TFDS set lens_stamps is not prepared",
                where=str(self.data_dir),
                remedy="Run main.py, which simulates or reads the stamps and prepares them",
            )
        return {split: self._generate_examples(made) for split, made in self._sets.items()}

    def _generate_examples(self, made: StampSet) -> Iterator[tuple[int, dict]]:
        rows = range(len(made))
        for row in progress_bar(rows, desc=f"preparing {made.split}", unit="stamp"):
            columns = {name: made.table[name][row] for name in schema.TABLE_COLUMNS}
            yield row, {"row": row, "stamp": made.stamps[row], **columns}


def _feature(dtype: str) -> Any:
    """The TFDS feature of a column. TFRecord has 32-bit floats only: float64 goes as bytes."""
    if np.dtype(dtype).kind == "U":
        return tfds.features.Text()
    if np.dtype(dtype) == np.float64:
        return tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes")
    return np.dtype(dtype).type
