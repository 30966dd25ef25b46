"""Strict by default, for all tests: rank promotion raises, a random key used twice raises, and
every warning is an error. There is no exception; one that comes is added below, with its reason."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest
from fsspec.implementations.local import LocalFileSystem

from tests.faults.matrix import MATRIX

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "error")


def pytest_collection_modifyitems(items):
    """Reports say which id of the fault matrix a test proves (benchmarks/fault_matrix.py)."""
    for item in items:
        for mark in item.iter_markers():
            if mark.name in ("proves", "harm"):
                assert mark.args[0] in MATRIX, f"{item.nodeid}: no id of the fault matrix"
                item.user_properties.append((mark.name, mark.args[0]))


@pytest.fixture
def shut(monkeypatch):
    """`shut(ending)`: folders whose path ends so cannot be listed, whoever runs the tests."""
    true = LocalFileSystem.ls

    def shut(ending):
        def ls(self, path, *args, **kwargs):
            if str(path).endswith(ending):
                raise PermissionError(13, "Permission denied", str(path))
            return true(self, path, *args, **kwargs)

        monkeypatch.setattr(LocalFileSystem, "ls", ls)

    return shut
