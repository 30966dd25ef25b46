"""Paths with and without a scheme (L1.7)."""

import fsspec
import pytest

from lensjax.data.paths import open_filesystem
from lensjax.schema import ExitCode, LensjaxError


def test_plain_and_file_paths_are_local(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_filesystem(str(tmp_path))[1] == str(tmp_path)
    assert open_filesystem(f"file://{tmp_path}")[1] == str(tmp_path)
    assert open_filesystem("sub/dir")[1] == str(tmp_path / "sub" / "dir")


@pytest.mark.parametrize("path", ["s3://bucket/a b", "s3a://bucket/a b"])
def test_s3a_is_s3(monkeypatch, path):
    asked = []
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: asked.append(url) or (None, url))
    open_filesystem(path)
    assert asked == ["s3://bucket/a b"]


def test_other_schemes_pass_and_unknown_ones_are_usage_errors():
    filesystem, path = open_filesystem("memory://x/y")
    assert path == "/x/y" and not filesystem.isdir(path)
    with pytest.raises(LensjaxError) as caught:
        open_filesystem("nosuchscheme://x")
    assert caught.value.code == ExitCode.USAGE
