"""The plain arrays of an npz, by name: no pickles, no bombs, no array twice.

Not the reader of users' stamps (lensjax.data.npz), which the gates may not import, and no judge of
what the arrays hold (lensjax.gates.arrays).

    unpack(path.read_bytes(), ["logit", "label"])["logit"]
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

_LARGEST_RATIO = 300  # of the arrays to their file: more is no evaluation but a bomb
_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, OSError, RuntimeError)


def unpack(content: bytes, known: Iterable[str]) -> dict[str, np.ndarray]:
    """Those of the known arrays that are there. Raises ValueError, saying why, for anything else
    than an npz of plain arrays, one that holds an array twice, or unpacks to far more than its
    size."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = {member.filename for member in members}
            if len(names) != len(members):
                raise _Refused("holds an array twice")
            if sum(member.file_size for member in members) > _LARGEST_RATIO * len(content):
                raise _Refused("unpacks to far more than its size")
            return {
                name: _array(archive.read(f"{name}.npy"))
                for name in known
                if f"{name}.npy" in names
            }
    except _Refused:
        raise
    except _DAMAGE as error:
        raise ValueError(f"is not an npz of plain arrays: {error}") from None


class _Refused(ValueError):
    """Its text says the whole of it."""


def _array(content: bytes) -> np.ndarray:
    """One .npy; ValueError for objects, or a header that claims other than what follows."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    size = dtype.itemsize
    for length in shape:
        size *= length
    if dtype.hasobject or min(shape, default=0) < 0 or size != len(content) - stream.tell():
        raise ValueError("an array's header does not fit its bytes")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)
