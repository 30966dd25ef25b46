"""Files that must not change while a run uses them: noted once, looked at again.

Not digests: a look costs one stat a file. It tells that a file was replaced or written to, not
what is in it now.

    >>> watch = Watch(source.keys)
    >>> watch.look()                        # raises if a file was changed since
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lensjax.schema import ExitCode, LensjaxError

NAMED = 3  # files in one message


class Watch:
    """What `keys()` gave when the watch began: by file name, something that a change changes."""

    def __init__(self, *keys: Callable[[], Mapping[str, str | None]]):
        self._keys = keys
        self._seen = [key() for key in keys]

    def look(self) -> None:
        """Raises LensjaxError (DATA_INVALID) naming files that were changed, removed or added."""
        for key, seen in zip(self._keys, self._seen, strict=True):
            now = key()
            changed = [name for name in sorted({*seen, *now}) if seen.get(name) != now.get(name)]
            if changed:
                more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
                raise LensjaxError(
                    ExitCode.DATA_INVALID,
                    "changed, removed or added while the run was using the data",
                    ", ".join(changed[:NAMED]) + more,
                    "Put the files back as they were and run again, or start over with --fresh",
                )
