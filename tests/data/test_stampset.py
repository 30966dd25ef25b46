"""StampSet, its table and its digest."""

import errno
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from lensjax import schema
from lensjax.data import stampset
from lensjax.data.stampset import (
    Finding,
    StampSet,
    allocate_stamps,
    build_table,
    canonical,
    content_digest,
    require_space,
)
from lensjax.schema import ExitCode, LensjaxError


def columns(n=6):
    label = np.arange(n) % 2
    return {
        "stamp_id": [f"test-{i:03d}-{'cs'[i % 2]}" for i in range(n)],
        "pair_id": [f"test-{i // 2:03d}" for i in range(n)],
        "lrg_id": [f"host-{i // 2}" for i in range(n)],
        "brick": ["0001p000"] * n,
        "split": ["test"] * n,
        "label": label,
        "negative_kind": ["" if one else "control" for one in label],
        "theta_e_arcsec": np.where(label, 1.5, np.nan),
        "arc_snr": np.where(label, 9.0, np.nan),
        "arc_snr_shot": np.where(label, 8.5, np.nan),
        "source_file": ["a.parquet"] * n,
        "source_row": np.arange(n),
        "psf_bin": np.zeros(n, int),
        "depth_bin": np.zeros(n, int),
        **{
            name: np.linspace(1, 2, n)
            for name in ("ra", "dec", "psf_fwhm_arcsec", "psf_depth", "ebv", "pixel_scale_arcsec")
        },
    }


def make_set(n=6, **changes):
    rng = np.random.default_rng(0)
    stamps = rng.normal(size=(n, *schema.STAMP_SHAPE)).astype(np.float32)
    return StampSet("test", build_table({**columns(n), **changes}), stamps, "arrays")


def test_table_has_the_schema_s_dtypes():
    table = build_table(columns())
    assert {name: x.dtype for name, x in table.items()} == {
        name: np.dtype(dtype) for name, dtype in schema.TABLE_COLUMNS.items()
    }
    assert len(build_table({name: [] for name in schema.TABLE_COLUMNS})["ra"]) == 0


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("stamp_id", ["x" * 65] * 6, "longer than 64"),
        ("label", [0, 1, 2, 0, 1, 0], "other than 0 and 1"),
        ("label", [1, 0] * 3, "negative_kind"),
        ("psf_bin", [300] * 6, "not i1 integers"),
        ("psf_bin", [0.5] * 6, "not i1 integers"),
        ("ra", ["x"] * 6, "cannot be f8"),
        ("ra", [1.0] * 5, "shape"),
        ("arc_snr", [0.0] * 6, "must be NaN where label is 0"),
        ("arc_snr_shot", [0.0] * 6, "column arc_snr_shot must be NaN where label is 0"),
        ("negative_kind", ["", "star"] * 3, "other than"),
    ],
)
def test_table_faults_are_named(name, values, message):
    with pytest.raises(LensjaxError, match=message) as caught:
        build_table({**columns(), name: values})
    assert caught.value.code == ExitCode.DATA_INVALID


def test_missing_and_unknown_columns():
    given = columns()
    given["rra"] = given.pop("ra")
    with pytest.raises(LensjaxError, match=r"missing columns \['ra'\], unknown columns \['rra'\]"):
        build_table(given)


def test_stamps_must_fit_the_table():
    table = build_table(columns())
    for stamps in (np.zeros((5, 64, 64, 3), np.float32), np.zeros((6, 64, 64, 3))):
        with pytest.raises(LensjaxError, match="stamps are"):
            StampSet("test", table, stamps, "arrays")
    with pytest.raises(LensjaxError, match="another split"):
        StampSet("val", table, np.zeros((6, 64, 64, 3), np.float32), "arrays")


def test_canonical_keeps_rows_together():
    made = make_set()
    mixed = np.array([3, 0, 5, 1, 4, 2])
    shuffled = StampSet(
        "test", {k: x[mixed] for k, x in made.table.items()}, made.stamps[mixed], "arrays"
    )
    sorted_again = canonical(shuffled)
    assert content_digest(sorted_again) == content_digest(made) != content_digest(shuffled)
    assert canonical(made) is made


def test_digest_sees_one_bit_of_each_part_and_not_the_reader():
    made = make_set()
    digests = {content_digest(made)}
    for name in schema.TABLE_COLUMNS:
        raw = made.table[name].copy()
        raw.view(np.uint8)[-4 if raw.dtype.kind == "U" else -1] ^= 1
        table = {**made.table, name: raw}
        spoilt = StampSet.__new__(StampSet)
        for field, value in (("split", "test"), ("table", table), ("stamps", made.stamps)):
            object.__setattr__(spoilt, field, value)
        digests.add(content_digest(spoilt))
    stamps = made.stamps.copy()
    stamps.view(np.uint32)[5, 1, 1, 1] ^= 1
    digests.add(content_digest(StampSet("test", made.table, stamps, "arrays")))
    assert len(digests) == len(schema.TABLE_COLUMNS) + 2
    same = StampSet("test", made.table, made.stamps, "tf.data")
    assert content_digest(same) == content_digest(made)


def test_over_the_budget_stamps_are_mapped(tmp_path):
    assert not isinstance(allocate_stamps(2, tmp_path, 2**20), np.memmap)
    mapped = allocate_stamps(2, tmp_path, 1000)
    mapped[:] = 1
    assert isinstance(mapped, np.memmap) and list(tmp_path.iterdir()) == []


FULL_DISK = """
import pathlib, subprocess, sys
import numpy as np
from lensjax.data import stampset
from lensjax.runs.logs import run_command

def main(argv):
    room = pathlib.Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(room)], check=True)
    if sys.argv[2] == "off":
        del stampset.os.posix_fallocate
    stamps = stampset.allocate_stamps(100, room, 1000)  # 5 MB
    stamps[:] = 1.0
    return 0

sys.exit(run_command(main, []))
"""


@pytest.mark.parametrize(("guard", "code"), [("on", 16), ("off", -signal.SIGBUS)])
def test_a_full_disk_is_told_and_kills_nobody(tmp_path, guard, code):
    """On a tmpfs of 1 MB; with the guard off, the control, SIGBUS ends the process."""
    alone = ["unshare", "-Urm"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"]).returncode:
        pytest.skip("no user namespaces here")
    child = subprocess.run(
        [*alone, sys.executable, "-c", FULL_DISK, str(tmp_path), guard],
        capture_output=True,
        text=True,
    )
    assert child.returncode == code, child.stderr
    if guard == "on":
        assert "the disk is full" in child.stderr and "Traceback" not in child.stderr


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EOPNOTSUPP])
def test_room_that_cannot_be_taken(tmp_path, monkeypatch, error):
    def refuse(*arguments):
        raise OSError(error, "refused")

    monkeypatch.setattr(stampset.os, "posix_fallocate", refuse)
    if error == errno.EOPNOTSUPP:  # a file system without it: as before
        assert allocate_stamps(2, tmp_path, 1000).shape == (2, 64, 64, 3)
    else:
        with pytest.raises(OSError) as caught:
            allocate_stamps(2, tmp_path, 1000)
        assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_space_is_required_where_a_folder_will_be(tmp_path):
    require_space(tmp_path / "not" / "yet", 1000)
    with pytest.raises(OSError, match=r"MB needed, \d+ MB free") as caught:
        require_space(tmp_path / "not" / "yet", 2**60)
    assert caught.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []


def test_finding():
    one = Finding("stamps", "ERROR", "1 NaN", "a row 1 band r", ExitCode.DATA_INVALID)
    assert str(one.error("Mend it")) == "a row 1 band r: 1 NaN. Mend it"
    with pytest.raises(ValueError, match="severity"):
        Finding("stamps", "WORSE", "", "", ExitCode.DATA_INVALID)
