"""The TFDS set `lens_stamps` in a folder: written in either file format, opened, kept quiet.

Not the builder itself (`lens_stamps`) and not the readers (`tfrecords`, `array_records`). TFDS is
imported inside the functions: it takes half a second. TensorFlow, which takes many, is imported
for TFRecord files alone.

    >>> write_tfds(sets, making, "simulated_demo", "array_record")
    >>> builder = open_tfds(folder, "simulated_demo")
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lensjax.data.making import Making
from lensjax.data.stampset import StampSet


def write_tfds(sets: Mapping[str, StampSet], making: Making, config: str, file_format: str) -> None:
    """Write `sets` (by split) as lens_stamps/`config`, shard by shard, in the order of rows;
    `file_format` is "tfrecord" or "array_record"."""
    if file_format == "tfrecord":
        quiet_tensorflow()
    options = {"sets": sets, "file": making.file, "file_format": file_format}
    builder = open_tfds(making.content, config, **options)
    with quiet():
        builder.download_and_prepare()


def open_tfds(folder: Path, config: str, **options: Any) -> Any:
    """The TFDS builder of lens_stamps/`config` in `folder`."""
    from lensjax.data.lens_stamps.lens_stamps_dataset_builder import Builder  # imports TFDS

    with quiet():
        return Builder(config=config, data_dir=str(folder), **options)


def quiet_tensorflow() -> Any:
    """TensorFlow, kept off the GPUs (jax wants all of their memory) and from talking."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its C++ side talks at every import,
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # of oneDNN whatever the level
    import tensorflow as tf  # heavy and optional: see above

    tf.config.set_visible_devices([], "GPU")
    return tf


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
