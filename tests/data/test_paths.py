"""Paths with and without a scheme (L1.7)."""

import importlib
import sys
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from lensjax.data.paths import local_path, open_filesystem
from lensjax.schema import ExitCode, LensjaxError


def test_plain_and_file_paths_are_local(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_filesystem(str(tmp_path))[1] == str(tmp_path)
    assert open_filesystem(f"file://{tmp_path}")[1] == str(tmp_path)
    assert open_filesystem("sub/dir")[1] == str(tmp_path / "sub" / "dir")


@pytest.mark.parametrize("path", ["s3://bucket/a b", "s3a://bucket/a b"])
def test_s3a_is_s3(monkeypatch, path):
    asked, local = [], fsspec.filesystem("file")
    monkeypatch.setattr(
        fsspec.core, "url_to_fs", lambda url, **_: asked.append(url) or (local, url)
    )
    open_filesystem(path)
    assert asked == ["s3://bucket/a b"]


def test_other_schemes_pass_and_unknown_ones_are_usage_errors():
    filesystem, path = open_filesystem("memory://x/y")
    assert path == "/x/y" and not filesystem.isdir(path)
    with pytest.raises(LensjaxError, match="Copy the files") as caught:
        open_filesystem("nosuchscheme://x")
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("path", "package"), [("gs://b/x", "gcsfs"), ("gcs://b/x", "gcsfs"), ("s3a://b/x", "s3fs")]
)
def test_a_missing_package_is_named(monkeypatch, path, package):
    loaded = importlib.import_module("fsspec.registry")._registry  # by tests before this one
    for protocol in ("s3", "gs", "gcs"):
        monkeypatch.delitem(loaded, protocol, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LensjaxError, match=f"pip install {package}") as caught:
        open_filesystem(path)
    assert caught.value.code == ExitCode.USAGE and package in caught.value.what


def test_a_store_that_fails_is_one_line(monkeypatch):
    def refuse(self, path, **_):
        raise RuntimeError("invalid_grant")

    monkeypatch.setattr(MemoryFileSystem, "exists", refuse)
    with pytest.raises(LensjaxError, match="RuntimeError: invalid_grant") as caught:
        open_filesystem("memory://x")
    assert caught.value.code == ExitCode.RESOURCE


def test_an_address_is_no_place_to_write_to(tmp_path, monkeypatch):
    assert local_path("out/summary.json", "--out") == Path("out/summary.json")
    with pytest.raises(LensjaxError, match="is an address") as caught:
        local_path("s3://bucket/summary.json", "--out")
    assert caught.value.code == ExitCode.USAGE and caught.value.remedy
    assert caught.value.where == "--out=s3://bucket/summary.json"
    monkeypatch.chdir(tmp_path)
    Path("s3://bucket").mkdir(parents=True)  # harm: what is written is here, and not there
    assert [path.name for path in tmp_path.iterdir()] == ["s3:"]
