"""S10: a package with known holes is refused before it is imported."""

import importlib.metadata

import pytest

from lensjax.data.versions import require_safe
from lensjax.schema import ExitCode, LensjaxError

WHY = "older versions run code from hostile files"


@pytest.fixture
def installed(monkeypatch):
    """installed(version): what the metadata says of every package."""
    return lambda version: monkeypatch.setattr(importlib.metadata, "version", lambda _: version)


@pytest.mark.parametrize("version", ["14.0.0", "9.0", "25.99.99", "25", "0+unknown", "unknown"])
def test_an_older_version_is_refused(installed, version):
    installed(version)
    with pytest.raises(LensjaxError) as caught:
        require_safe("pyarrow", "26", WHY)
    assert caught.value.code == ExitCode.MISMATCH
    assert str(caught.value) == (
        f"pyarrow: version {version} is refused, 26 or later is needed: {WHY}. "
        "pip install 'pyarrow>=26'"
    )


@pytest.mark.parametrize("version", ["26", "26.0.0", "26.0.1", "26.1.0rc1", "100.0"])
def test_the_floor_and_later_pass(installed, version):
    installed(version)
    require_safe("pyarrow", "26", WHY)
    require_safe("pyarrow", "26.0.0", WHY)


def test_what_is_installed_here_passes_and_what_is_not_is_named():
    require_safe("pyarrow", "26", WHY)
    with pytest.raises(LensjaxError, match="no_such_package: is not installed") as caught:
        require_safe("no_such_package", "1", WHY)
    assert caught.value.code == ExitCode.MISMATCH
