"""D20: a smoke run that has a private loader proves nothing. The suite's own must fail with one."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from lensjax.data import prepared
from lensjax.job import train
from lensjax.schema import ExitCode, LensjaxError
from tests.faults import fake_loader
from tests.faults.cases import Case
from tests.faults.running import ROOT

SUITE = "tests/test_job.py::test_batches_came_through_the_tfds_set"


@pytest.fixture
def smoke(here, tmp_path, monkeypatch):
    """main.py up to its preflight: the splits that the production loader read, and the feed."""
    root = Case(0, "", "").write(tmp_path / "data", here)
    loaded, given = [], []
    load = prepared.load

    def counted(*words):
        loaded.append(words[2])
        return load(*words)

    def enough(state, **told):
        given.append(told["feed"])
        raise LensjaxError(ExitCode.STOPPED, "far enough")

    def run():
        monkeypatch.setattr(prepared, "load", counted)
        monkeypatch.setattr(train.preflight, "preflight", enough)
        assert here.train(root).code == ExitCode.STOPPED
        (feed,) = given
        return loaded, feed

    return run


def assert_production(loaded, feed, here):
    """What preflight is given was read by the production loader from the prepared set."""
    assert loaded == ["train", "val"]
    assert set(feed.ids) <= set(here.sets()["train"].table["stamp_id"])


@pytest.mark.proves("D20")
def test_preflight_goes_through_the_production_loader(smoke, here):
    assert_production(*smoke(), here)


@pytest.mark.proves("D20")
def test_with_a_private_loader_the_assertion_fails(smoke, here, monkeypatch):
    monkeypatch.setattr(fake_loader.LOADER, fake_loader.load)
    with pytest.raises(AssertionError):
        assert_production(*smoke(), here)


@pytest.mark.harm("D20")
def test_without_the_assertion_nobody_notices(smoke, monkeypatch):
    monkeypatch.setattr(fake_loader.LOADER, fake_loader.load)
    loaded, feed = smoke()
    assert loaded == []  # no file was read, and yet:
    assert len(feed.labels) == 40 and np.isfinite(np.asarray(feed.source["inputs"])).all()


@pytest.mark.faults
@pytest.mark.proves("D20")
def test_the_suite_itself_fails_with_a_private_loader():
    """Its smoke run takes the stamps that the reader of the TFDS set gave, and there are none."""
    plugins = ["-p", "tests.faults.fake_loader", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-n0", "-q", *plugins, SUITE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FAILED {SUITE}" in done.stdout and "IndexError: pop from empty list" in done.stdout
