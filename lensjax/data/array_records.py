"""Stamps from the ArrayRecord files of the TFDS set `lens_stamps`, any rows without the rest.

Not verified against a manifest: `prepared` sees to that. Nothing here imports TensorFlow. Record k
of the files, in the order of their names, is row k: a serialized tf.train.Example of the stamp
(`stamp`: one bytes value, float32 little-endian [64, 64, 3]), `row` and the columns of the table,
as TFDS writes it and as `tfds.data_source` reads it (features.json beside the files says how).
Read here are `stamp` and `row` alone, five times as fast; the table lies in <split>-table.npz.

Each record is a Riegeli chunk with a 64-bit hash of its own, checked whenever it is read: of 3,000
flipped bits none gave a wrong record. What the format does not notice: a file cut short or absent
opens as one of no records, and bits of the padding between chunks may flip. The first is refused
here (the shard lengths of dataset_info.json), the second by the SHA-256 of the manifest.

    >>> records = StampRecords(folder, "simulated_demo", "train")
    >>> records[[5, 2, 7]]                             # float32 [3, 64, 64, 3], nanomaggies
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lensjax import schema
from lensjax.data.arrays import read_table
from lensjax.data.stampset import StampSet, allocate_stamps
from lensjax.data.tfds_set import open_tfds
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

_READ_ROWS = 256
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"


class StampRecords:
    """The stamps of one split. Files are opened as their rows are asked for, and stay open if they
    are no more than half of what the process may open. Threads may read side by side."""

    def __init__(self, folder: Path, config: str, split: str):
        """Raises LensjaxError (DATA_INVALID) for a folder without a sound dataset_info.json."""
        from tensorflow_datasets.proto import tf_example_pb2  # half a second; imports no TensorFlow

        messages: Any = tf_example_pb2  # its names are made at import, unseen by type checkers
        self._parse: Callable[[bytes], Any] = messages.Example.FromString
        builder = open_tfds(folder, config)
        try:
            shards = builder.info.splits[split].file_instructions
        except (KeyError, ValueError) as error:
            raise _damaged(folder, f"the TFDS set has no split {split!r}") from error
        self._paths = [Path(shard.filename) for shard in shards]
        self._ends = np.cumsum([shard.examples_in_shard for shard in shards])
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._stay_open = len(shards) <= limit // 2 or limit == resource.RLIM_INFINITY
        self._readers: dict[int, Any] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, rows: npt.ArrayLike) -> np.ndarray:
        """float32 [len(rows), 64, 64, 3], nanomaggies, of `rows` (int [k], in any order, also
        twice). Raises IndexError for a row that is not there, and LensjaxError (DATA_INVALID)
        naming the file and the row of a damaged record."""
        asked = np.asarray(rows, np.int64)
        stamps = np.empty((len(asked), *schema.STAMP_SHAPE), np.float32)
        for place, example in self.examples(asked):
            stamps[place] = _stamp(example)
        return stamps

    def examples(self, rows: np.ndarray) -> Iterator[tuple[int, Any]]:
        """(place in `rows`, tf.train.Example) of every one of `rows`, file by file."""
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        shards = np.searchsorted(self._ends, rows, side="right")
        for shard in np.unique(shards).tolist():
            first = int(self._ends[shard - 1]) if shard else 0
            places = np.flatnonzero(shards == shard)
            records = self._read(shard, (rows[places] - first).tolist(), first)
            for place, record in zip(places.tolist(), records, strict=True):
                example = self._parse(record)
                row = example.features.feature["row"].int64_list.value
                if list(row) != [rows[place]]:
                    raise _damaged(self._paths[shard], f"record of row {rows[place]} is of {row}")
                yield place, example

    def close(self) -> None:
        """Close the files; the next read opens them again."""
        for reader in self._readers.values():
            reader.close()
        self._readers = {}

    def _read(self, shard: int, positions: list[int], first: int) -> list[bytes]:
        from array_record.python.array_record_module import ArrayRecordReader  # as above

        path = self._paths[shard]
        reader = self._readers.get(shard)
        if reader is None:
            with path.open("rb"):  # ArrayRecordReader opens a file that is not there
                reader = ArrayRecordReader(str(path), _RANDOM_ACCESS)
            expected = int(self._ends[shard]) - first
            if reader.num_records() != expected:
                raise _damaged(path, f"{reader.num_records()} records, expected {expected}")
            if self._stay_open:
                self._readers[shard] = reader
        try:
            return reader.read(positions)
        except RuntimeError as error:
            rows = [first + position for position in positions]
            what = f"a record of rows {min(rows)} to {max(rows)} is damaged: {str(error)[:80]}"
            raise _damaged(path, what) from error
        finally:
            if not self._stay_open:
                reader.close()


def read_records(folder: Path, config: str, split: str, memory_dir: Path) -> StampSet:
    """The StampSet of `split`, stamps from the records and the table from its own file;
    `memory_dir` takes the stamps if they are too many for memory. Raises as `StampRecords` and
    `arrays.read_table`."""
    records = StampRecords(folder, config, split)
    stamps = allocate_stamps(len(records), memory_dir)
    with progress_bar(total=len(records), desc=f"loading {split}", unit="stamp") as bar:
        for start in range(0, len(records), _READ_ROWS):
            rows = np.arange(start, min(start + _READ_ROWS, len(records)))
            stamps[rows] = records[rows]
            bar.update(len(rows))
    records.close()
    return StampSet(split, read_table(folder, split), stamps, "array_record")


def read_labels(folder: Path, config: str, split: str) -> dict[str, np.ndarray]:
    """The columns `stamp_id` (str) and `label` (int8) that the records of `split` hold."""
    records = StampRecords(folder, config, split)
    ids, labels = np.zeros(len(records), "U64"), np.zeros(len(records), np.int8)
    for row, example in records.examples(np.arange(len(records))):
        features = example.features.feature
        ids[row] = features["stamp_id"].bytes_list.value[0].decode()
        labels[row] = features["label"].int64_list.value[0]
    records.close()
    return {"stamp_id": ids, "label": labels}


def _stamp(example: Any) -> np.ndarray:
    (pixels,) = example.features.feature["stamp"].bytes_list.value
    return np.frombuffer(pixels, "<f4").reshape(schema.STAMP_SHAPE)


def _damaged(where: Path, what: str) -> LensjaxError:
    return LensjaxError(ExitCode.DATA_INVALID, what, str(where))
