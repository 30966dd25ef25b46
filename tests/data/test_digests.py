"""Digests of files and of labels: of what they are, and remembered no longer than they hold."""

import hashlib
import itertools
import json
import os

import fsspec
import numpy as np
import pytest

from lensjax.data import digests
from lensjax.data.digests import (
    DigestMemo,
    combined,
    file_key,
    hash_file,
    keyed_hash,
    label_digest,
)

LOCAL = fsspec.filesystem("file")


@pytest.fixture
def path(tmp_path):
    """A file of 10 kB."""
    path = tmp_path / "shard"
    path.write_bytes(bytes(range(250)) * 40)
    return path


def test_the_digest_of_a_file_is_sha256_whatever_the_chunks(path, monkeypatch):
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert hash_file(LOCAL, str(path)) == expected
    monkeypatch.setattr(digests, "_CHUNK", 7)
    assert hash_file(LOCAL, str(path)) == expected
    with pytest.raises(OSError, match="No such file"):
        hash_file(LOCAL, str(path) + "x")


def test_combined_follows_names_and_digests_and_not_the_order():
    files = {"train/a": "0" * 64, "val/b": "1" * 64}
    told = combined(files)
    assert combined(dict(reversed(files.items()))) == told
    others = (
        {"train/a": "0" * 64},
        {"train/a": "1" * 64, "val/b": "0" * 64},
        {"train/c": "0" * 64, "val/b": "1" * 64},
        {},
    )
    assert len({told, *map(combined, others)}) == 5


def rewritten(path):
    path.write_bytes(path.read_bytes()[::-1])


def same_times(path):
    """Other bytes, the size and the times of before: as a careful copy leaves them."""
    status = path.stat()
    rewritten(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path):
    """Another file of the same bytes, size and times."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", [rewritten, same_times, replaced])
def test_a_file_is_known_until_it_is_changed(path, tmp_path, change):
    memo = DigestMemo(LOCAL, tmp_path / "cache")
    assert memo.known(str(path)) is None
    digest = memo.put(*keyed_hash(LOCAL, str(path)))
    assert memo.known(str(path)) == digest == hash_file(LOCAL, str(path))
    change(path)
    assert memo.known(str(path)) is None


def test_a_file_changed_while_it_was_hashed_is_not_known(path, tmp_path, monkeypatch):
    """The key is of before. With one of after (the control) the old digest stands for new bytes."""
    plain = digests.hash_file

    def then_changed(filesystem, name):
        found = plain(filesystem, name)
        path.write_bytes(b"new")
        return found

    monkeypatch.setattr(digests, "hash_file", then_changed)
    memo = DigestMemo(LOCAL, tmp_path / "cache")
    _, digest = keyed_hash(LOCAL, str(path))
    key, _ = keyed_hash(LOCAL, str(path))
    memo.put(key, digest)
    assert memo.known(str(path)) is None
    memo.put(file_key(LOCAL, str(path)), digest)
    assert memo.known(str(path)) == digest != plain(LOCAL, str(path))


def test_what_was_put_is_there_for_the_next_process(path, tmp_path):
    cache = tmp_path / "new" / "cache"
    memo = DigestMemo(LOCAL, cache)
    digest = memo.put(*keyed_hash(LOCAL, str(path)))
    assert DigestMemo(LOCAL, cache).known(str(path)) is None  # not before it is saved
    memo.save()
    assert DigestMemo(LOCAL, cache).known(str(path)) == digest
    assert [one.name for one in cache.iterdir()] == ["file_digests.json"]
    before = (cache / "file_digests.json").stat().st_mtime_ns
    memo.save()  # nothing new: not written again
    assert (cache / "file_digests.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\xff"])
def test_a_damaged_memory_is_forgotten(path, tmp_path, text):
    (tmp_path / "file_digests.json").write_bytes(text.encode("latin-1"))
    memo = DigestMemo(LOCAL, tmp_path)
    assert memo.known(str(path)) is None
    memo.put(*keyed_hash(LOCAL, str(path)))
    memo.save()
    assert json.loads((tmp_path / "file_digests.json").read_text())


class Store(fsspec.AbstractFileSystem):
    """What a store tells of an object, as S3 and others do."""

    protocol = "store"

    def __init__(self, **entry):
        super().__init__()
        self.entry = entry

    def info(self, path, **_):
        if not self.entry:
            raise FileNotFoundError(path)
        return {"name": path, "size": 5, "type": "file", **self.entry}


def test_the_key_of_an_object_is_its_etag():
    keys = [
        file_key(Store(ETag="a", skip_instance_cache=True), "bucket/x"),
        file_key(Store(ETag="b", skip_instance_cache=True), "bucket/x"),
        file_key(Store(etag="c", skip_instance_cache=True), "bucket/x"),
        file_key(Store(ETag="a", size=6, skip_instance_cache=True), "bucket/x"),
        file_key(Store(ETag="a", skip_instance_cache=True), "bucket/y"),
    ]
    assert None not in keys and len(set(keys)) == 5


def test_where_a_store_tells_nothing_nothing_is_remembered(tmp_path):
    for entry in ({"mtime": 1}, {}):
        store = Store(**entry, skip_instance_cache=True)
        memo = DigestMemo(store, tmp_path)
        assert file_key(store, "bucket/x") is None
        assert memo.put(None, "0" * 64) == "0" * 64
        assert memo.known("bucket/x") is None
    memo.save()
    assert list(tmp_path.iterdir()) == []


def test_labels_are_digested_by_id_in_any_order():
    ids, labels = np.array(["b", "a", "é"]), np.array([1, 0, 1], np.int8)
    told = label_digest(ids, labels)
    for order in itertools.permutations(range(3)):
        assert label_digest(ids[list(order)], labels[list(order)]) == told
    assert label_digest(np.char.encode(ids, "utf-8"), labels) == told
    plain = hashlib.sha256("a\t0\nb\t1\né\t1\n".encode()).hexdigest()
    assert told == plain


def test_any_flip_and_any_other_id_changes_the_digest():
    ids, labels = np.array([f"s{k}" for k in range(8)]), np.arange(8, dtype=np.int8) % 2
    seen = {label_digest(ids, labels), label_digest(ids[:7], labels[:7])}
    for k in range(8):
        flipped, renamed = labels.copy(), ids.copy()
        flipped[k] ^= 1
        renamed[k] = "x"
        seen |= {label_digest(ids, flipped), label_digest(renamed, labels)}
    assert len(seen) == 18
