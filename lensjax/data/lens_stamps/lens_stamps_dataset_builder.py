"""The TFDS builder `lens_stamps`: validated StampSets as TFRecord or ArrayRecord files.

Not a reader of raw data and not a downloader: it writes the StampSets that it is handed and
reads them back; `lensjax.data.prepared` does both, atomically and with digests. One example a
stamp: the pixels, all columns of the table, and `row`, its place in the canonical order, which is
the order of the examples too. TensorFlow is imported for TFRecord files alone.

    >>> builder = Builder(config="parquet", data_dir=folder, sets={"test": test}, file=write_one)
    >>> builder.download_and_prepare(file_format="array_record")
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.writer import ExampleWriter

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
SHARD_ROWS = 8192  # 0.4 GB: what a kill costs at most, and 192 files for 1.57 million stamps
# A record a stamp, for random access. Compression would save 8 % and halve the speed of reading.
ARRAY_RECORD_OPTIONS = "group_size:1,uncompressed"

WriteOne = Callable[[Path, Callable[[Path], object]], None]  # Making.file


class Builder(tfds.core.ShardBasedBuilder):
    """Writes and reads the examples of lens_stamps."""

    VERSION = tfds.core.Version("1.0.1")
    RELEASE_NOTES = {  # noqa: RUF012 (what TFDS asks for)
        "1.0.0": "First release.",
        "1.0.1": "Examples in the order of `row`, 8192 a file.",
    }
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name, description=text) for name, text in CONFIGS.items()
    ]

    def __init__(
        self,
        *,
        sets: Mapping[str, StampSet] | None = None,
        file: WriteOne | None = None,
        **options: Any,
    ):
        """`sets` by split, to be written, each file by `file` (default: as it comes); None to read
        what was written. `options` are those of TFDS (config, data_dir, file_format)."""
        self._sets = sets
        self._file = file or _write_anyway
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        columns = {name: _feature(dtype) for name, dtype in schema.TABLE_COLUMNS.items()}
        stamp = tfds.features.Tensor(shape=schema.STAMP_SHAPE, dtype=np.float32, encoding="bytes")
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"row": np.int64, "stamp": stamp, **columns})
        )

    def _shard_iterators_per_split(
        self, dl_manager: Any
    ) -> dict[str, list[Callable[[], Iterator[tuple[int, dict]]]]]:
        del dl_manager  # nothing is downloaded
        if self._sets is None:
            raise LensjaxError(
                ExitCode.DATA_INVALID,
                "the TFDS set lens_stamps is not prepared",
                where=str(self.data_dir),
                remedy="Run main.py, which simulates or reads the stamps and prepares them",
            )
        return {
            split: [
                functools.partial(_examples, made, range(first, min(first + SHARD_ROWS, len(made))))
                for first in range(0, len(made), SHARD_ROWS)
            ]
            for split, made in self._sets.items()
        }

    def _example_writer(self) -> ExampleWriter:
        return _Writer(self.info.file_format, self._file)


class _Writer(ExampleWriter):
    """Has each file written by `file`, which may know that it is there already."""

    def __init__(self, file_format: Any, file: WriteOne):
        super().__init__(file_format)
        self._file = file

    def write(self, path: Any, examples: Iterable[tuple[int, bytes]]) -> None:
        if self.file_format == tfds.core.FileFormat.ARRAY_RECORD:
            self._file(Path(path), lambda path: _write_array_record(path, examples))
        else:
            write = super().write
            self._file(Path(path), lambda path: write(path, examples))


def _write_anyway(path: Path, write: Callable[[Path], object]) -> None:
    write(path)


def _write_array_record(path: Path, examples: Iterable[tuple[int, bytes]]) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter  # not on every platform

    writer = ArrayRecordWriter(str(path), ARRAY_RECORD_OPTIONS)
    for _, serialized in examples:
        writer.write(serialized)
    writer.close()


def _examples(made: StampSet, rows: range) -> Iterator[tuple[int, dict]]:
    for row in progress_bar(rows, desc=f"preparing {made.split} from row {rows[0]}", unit="stamp"):
        columns = {name: made.table[name][row] for name in schema.TABLE_COLUMNS}
        yield row, {"row": row, "stamp": made.stamps[row], **columns}


def _feature(dtype: str) -> Any:
    """The TFDS feature of a column. TFRecord has 32-bit floats only: float64 goes as bytes."""
    if np.dtype(dtype).kind == "U":
        return tfds.features.Text()
    if np.dtype(dtype) == np.float64:
        return tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes")
    return np.dtype(dtype).type
