"""Real lenses and look-alikes that evaluation scores: which stamp is of which row, what is refused,
and (the faults suite) a run with both, from the stamps to what the gates print."""

import csv
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import main
from lensjax import configuration, gates, schema
from lensjax.data.files import FileSource
from lensjax.data.flat import FlatStamps
from lensjax.gates.arrays import read_evaluation
from lensjax.job import catalogues as job_catalogues
from lensjax.job import stages
from lensjax.job.catalogues import digests, match, open_catalogues, require_same_scale
from lensjax.job.data import training_positions
from lensjax.job.job import Job
from lensjax.runs.logs import run_command
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import loop

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared/data"
LENSES = sorted(SHARED.glob("ps1_lenses_fits/*_g.fits"))
needs_real = pytest.mark.skipif(len(LENSES) != 20, reason=f"the lenses of {SHARED} are not there")
ARCSEC = 1 / 3600
CLASSES = ("ring", "Spiral ", "merger")


def write_csv(path: Path, columns: str, rows) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns.split(","), *rows])
    return path


def write_stamps(folder: Path, places, names=None, seed=0) -> Path:
    """A folder of one npy stack: sky, a galaxy, and a blob beside it; a row each of `places` (ra,
    dec, or empty: then the index has no such columns)."""
    folder.mkdir()
    rng, y = np.random.default_rng(seed), np.arange(64) - 31.5
    galaxy = np.exp(-np.hypot(y[:, None], y[None, :]) / 3).astype(np.float32)
    stack = rng.normal(0, 0.02, (len(places), 3, 64, 64)).astype(np.float32) + galaxy
    stack[:, :, 20:23, 30:33] += rng.uniform(0, 1, (len(places), 1, 1, 1)).astype(np.float32)
    np.save(folder / "stamps.npy", stack)
    names = names or [f"stamp-{k}" for k in range(len(places))]
    rows = [("stamps.npy", k, "lens", names[k], *places[k]) for k in range(len(places))]
    columns = "file,row,kind,task_id" + (",ra,dec" if places[0] else "")
    write_csv(folder / "stamps.csv", columns, rows)
    return folder


@pytest.fixture
def given(tmp_path) -> list[str]:
    """Flags: 8 anchors, of which 6 count and 5 have a stamp; 6 contaminants, all with a stamp."""
    places = [(10.0 + k, -5.0) for k in range(8)]
    theta_e = [1.0, 1.2, 0.4, 1.5, 0.9, 1.1, 1.3, "nan"]
    rows = [(f"lens {k}", *places[k], theta_e[k]) for k in range(8)]
    write_csv(tmp_path / "anchors.csv", "name,ra,dec,theta_e_arcsec", rows)
    near = [(ra, dec + 2 * ARCSEC) for ra, dec in [*places[:6], (200.0, 40.0)]]
    write_stamps(tmp_path / "anchors", near)
    others = [(f"other {k}", 100.0 + k, 5.0, CLASSES[k % 3]) for k in range(6)]
    write_csv(tmp_path / "contaminants.csv", "name,ra,dec,category", others)
    names = [row[0] for row in others]
    write_stamps(tmp_path / "contaminants", [()] * 6, names, seed=1)
    return flags_of(tmp_path)


def flags_of(folder: Path) -> list[str]:
    told = {"source": "npy", "unit": "nanomaggy", "pixel_scale_arcsec": "0.262", "bands": "grz"}
    flags = [f"--config.catalogue_stamps.{name}={value}" for name, value in told.items()]
    for name in ("anchors", "contaminants"):
        flags.append(f"--config.data.{name}={folder / name}.csv")
        flags.append(f"--config.catalogue_stamps.{name}={folder / name}")
    return flags


def config_of(flags: list[str], cache: Path) -> configuration.Config:
    told = [flag.removeprefix("--config.").partition("=") for flag in flags]
    overrides = [(name, value) for name, _, value in told]
    overrides.append(("data.cache_dir", str(cache / "cache")))
    return configuration.load_config("configs/b3.py:tiny", overrides)


def opened(flags: list[str], cache: Path):
    config = config_of(flags, cache)
    return open_catalogues(config, gates.load_protocol(configuration.protocol_path(config)))


def error_of(flags: list[str], cache: Path) -> tuple[int, str]:
    with pytest.raises(LensjaxError) as caught:
        opened(flags, cache)
    assert "\n" not in str(caught.value)
    return int(caught.value.code), str(caught.value)


def test_rows_that_count_keep_their_place_with_and_without_a_stamp(given, tmp_path, caplog):
    caplog.set_level("INFO")
    found = opened(given, tmp_path)
    anchors, others = found["anchors"], found["contaminants"]
    assert anchors.names.tolist() == [f"lens {k}" for k in (0, 1, 3, 4, 5, 6)]
    assert anchors.rows.tolist() == [0, 1, 2, 3, 4] and (anchors.left_out, anchors.spare) == (2, 2)
    assert others.classes.tolist() == ["ring", "spiral", "merger"] * 2
    assert others.rows.tolist() == list(range(6)) and others.left_out == others.spare == 0
    assert "anchors: 5 of 6 rows have a stamp, 1 have none and count" in caplog.text
    told = "2 stamps of no row are not scored: anchors/stamps.csv row 2, anchors/stamps.csv row 6"
    assert told in caplog.text and "no column 'arc_snr'" not in caplog.text
    stack = np.load(tmp_path / "anchors/stamps.npy")
    assert np.array_equal(anchors.stamps, np.moveaxis(stack[[0, 1, 3, 4, 5]], 1, -1))
    arrays = anchors.arrays(np.arange(5, dtype=np.float32))
    assert arrays["logit"][:5].tolist() == [0, 1, 2, 3, 4] and np.isnan(arrays["logit"][5])
    assert [len(arrays[name]) for name in ("name", "class", "logit")] == [6, 6, 6]


def stamps_at(ids, ra, dec) -> FlatStamps:
    n = len(ids)
    where = [f"row {k}" for k in range(n)]
    scale, pixels = np.full(n, 0.262), np.zeros((n, 64, 64, 3), np.float32)
    return FlatStamps(np.array(ids), where, np.array(ra), np.array(dec), scale, pixels, "")


RA, DEC = np.array([359.9999, 40.0, 80.0]), np.array([0.0, 89.9, -30.0])


def test_a_name_goes_before_a_position_and_the_sky_has_no_edges():
    nan = np.nan
    made = stamps_at(["b", "x", "y"], [nan, 0.0003, 80.0], [nan, 0.0, -30.0 + 4.9 * ARCSEC])
    assert match(["a", "b", "c"], RA, DEC, made, where="f").tolist() == [1, 0, 2]
    beyond = stamps_at(["b", "y"], [nan, 80.0], [nan, -30.0 + 5.1 * ARCSEC])
    assert match(["a", "b", "c"], RA, DEC, beyond, where="f").tolist() == [1, -1]


MISMATCHED = {
    "'a' is there twice": (["a", "b", "a"], ["b"], [40.0], [89.9]),
    "row 1: a second stamp of 'b' (the other is row 0)": (
        ["a", "b", "c"],
        ["b", "x"],
        [np.nan, 40.0],
        [np.nan, 89.9],
    ),
    "row 1: more than 5 arcsec from 'c', whose name it has": (
        ["a", "b", "c"],
        ["b", "c"],
        [40.0, 40.0],
        [89.9, 89.9],
    ),
    "none of its 3 rows that count has one of the 2 stamps": (
        ["a", "b", "c"],
        ["x", "y"],
        [12.0, np.nan],
        [12.0, np.nan],
    ),
}


@pytest.mark.parametrize("told", MISMATCHED)
def test_stamps_that_are_not_plainly_of_a_row_are_refused(told):
    names, ids, ra, dec = MISMATCHED[told]
    with pytest.raises(LensjaxError) as caught:
        match(names, RA, DEC, stamps_at(ids, ra, dec), where="f")
    assert caught.value.code == ExitCode.DATA_INVALID and told in str(caught.value)


def test_without_a_look_at_the_position_names_may_be_exchanged(monkeypatch):
    """The harm: each stamp is scored as the other."""
    monkeypatch.setattr(job_catalogues, "_require_near", lambda *_: None)
    made = stamps_at(["c", "b"], [40.0, 80.0], [89.9, -30.0])
    assert match(["a", "b", "c"], RA, DEC, made, where="f").tolist() == [2, 1]


def test_another_pixel_scale_than_the_run_s_is_refused(given, tmp_path, monkeypatch):
    """Of simulated stamps at once, of a user's own when they are loaded."""
    sound, ours = opened(given, tmp_path), np.full(9, 0.262, np.float32)
    flags = [flag.replace("arcsec=0.262", "arcsec=0.25") for flag in given]
    assert error_of(flags, tmp_path)[0] == ExitCode.DATA_INVALID
    found = opened([*flags, f"--config.data.root={tmp_path}"], tmp_path)
    told = r"0.25 arcsec a pixel, those of the run 0.262. Add --config.catalogue_stamps.resample"
    with pytest.raises(LensjaxError, match=told) as caught:
        require_same_scale(found, ours)
    assert caught.value.code == ExitCode.DATA_INVALID
    with pytest.raises(LensjaxError, match="Cut them out at the pixel scale of the run"):
        require_same_scale(found, np.full(9, 0.3, np.float32))
    require_same_scale(found, np.array([0.25, 0.262], np.float32))
    require_same_scale(sound, ours)
    monkeypatch.setattr(job_catalogues, "SAME_SCALE", 0.1)  # harm: a ring 5 % too large is scored
    require_same_scale(found, ours)


def test_lenses_that_were_trained_on_are_told(given, tmp_path):
    """Only those with a stamp: the others have no score that could mislead."""
    anchors, train = opened(given, tmp_path)["anchors"], np.int8(0)
    ra = np.array([*(anchors.ra + 2 * ARCSEC), *anchors.ra, np.nan])
    dec = np.array([*anchors.dec, *(anchors.dec + 7 * ARCSEC), 0.0])
    split = np.full(len(ra), train)
    split[2] = schema.SPLITS.index("test")
    source = FileSource.__new__(FileSource)
    source.listing = SimpleNamespace(numbers={"ra": ra, "dec": dec}, split=split), []
    found = anchors.among(*training_positions(SimpleNamespace(source=source)))
    assert anchors.names[found].tolist() == ["lens 0", "lens 1", "lens 4", "lens 5"]
    assert len(anchors.among(*training_positions(SimpleNamespace(source=None)))) == 0


def test_every_byte_counts_and_places_do_not(given, tmp_path):
    before = digests(opened(given, tmp_path))
    assert all(before.values()) and digests({}) == {"anchors": None, "contaminants": None}
    (tmp_path / "elsewhere").mkdir()
    for name in ("anchors", "contaminants", "anchors.csv", "contaminants.csv"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    moved = flags_of(tmp_path / "elsewhere")
    assert digests(opened(moved, tmp_path)) == before
    job = [run_of(flags, tmp_path).digest for flags in (moved, moved[:-2])]
    assert job[0] != job[1]
    stack = np.load(tmp_path / "elsewhere/anchors/stamps.npy")
    stack[0, 0, 0, 0] += 1e-3
    np.save(tmp_path / "elsewhere/anchors/stamps.npy", stack)
    with (tmp_path / "elsewhere/contaminants.csv").open("a") as file:
        file.write("late,0,0,ring\r\n")
    after = digests(opened(moved, tmp_path))
    assert after["anchors"] != before["anchors"]
    assert after["contaminants"] != before["contaminants"]
    assert run_of(moved, tmp_path).digest != job[0]


def run_of(flags: list[str], cache: Path) -> Job:
    """A job with these catalogues, of no data."""
    config = config_of(flags, cache)
    protocol = gates.load_protocol(configuration.protocol_path(config))
    found = open_catalogues(config, protocol)
    return Job(config, None, protocol, None, "d", False, catalogues=found)  # type: ignore


def spoil(folder: Path, name: str) -> None:
    stamps = folder / "anchors/stamps.npy"
    if name == "nan":
        stack = np.load(stamps)
        stack[3, 1, 5, 5] = np.nan
        np.save(stamps, stack)
    elif name == "gone":
        stamps.unlink()
    elif name == "link":
        stamps.rename(folder / "outside.npy")
        os.symlink("../outside.npy", stamps)
    elif name == "pickle":
        np.save(stamps, np.array([{}], object), allow_pickle=True)
    elif name == "catalogue":
        (folder / "anchors.csv").write_text("name,ra,dec\n")
    elif name == "long":
        with (folder / "anchors.csv").open("a") as file:
            file.write(f"{'x' * 65},1,2,3\r\n")


REFUSED = {
    "nan": (10, "anchors/stamps.csv row 3 band r: 1 NaN (stamps.npy)"),
    "gone": (10, "no such file"),
    "link": (17, "is a link that leads out of the folder"),
    "pickle": (17, "anchors/stamps.csv row 0"),
    "catalogue": (10, "missing columns ['theta_e_arcsec']"),
    "long": (10, "anchors.csv row 8: longer than 64 characters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_named_before_training(given, tmp_path, name):
    spoil(tmp_path, name)
    code, told = error_of(given, tmp_path)
    assert (code, REFUSED[name][1] in told) == (REFUSED[name][0], True), told


def without(flags: list[str], *names: str) -> list[str]:
    return [flag for flag in flags if flag.partition("=")[0].removeprefix("--config.") not in names]


def test_flags_that_do_not_fit_together(given, tmp_path):
    code, told = error_of(without(given, "data.anchors"), tmp_path)
    assert code == 2 and "--config.catalogue_stamps.anchors: needs the catalogue" in told
    stamps = ("catalogue_stamps.anchors", "catalogue_stamps.contaminants")
    code, told = error_of(without(given, *stamps), tmp_path)
    assert code == 2 and "--config.catalogue_stamps.unit: is told of stamps that are not" in told
    code, told = error_of([*given[1:], "--config.catalogue_stamps.source=parquet"], tmp_path)
    assert code == 2 and "unknown word 'parquet'" in told
    code, told = error_of(without(given, "catalogue_stamps.unit"), tmp_path)
    assert code == 10 and "no unit" in told and "--config.catalogue_stamps.unit" in told
    code, told = error_of([given[0].replace("npy", "hdf5"), *given[1:]], tmp_path)
    assert code == 10 and "*.h5" in told
    shutil.rmtree(tmp_path / "anchors")
    assert error_of(given, tmp_path)[0] == 2
    assert opened([], tmp_path) == {}


# -- a run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A finished run without catalogues, its cache, and a quicker protocol."""
    folder = tmp_path_factory.mktemp("base")
    document = json.loads((ROOT / "configs/protocols/default.json").read_text())
    document["intervals"]["resamples"] = 200
    document["probes"]["permutations"] = 9
    (folder / "protocol.json").write_text(json.dumps(document))
    assert run_command(main.main, arguments(folder, folder / "run")) in (20, 21)
    return folder


def arguments(base: Path, workdir: Path, *more: str) -> list[str]:
    return [
        *("--config=configs/b3.py:tiny", f"--workdir={workdir}"),
        *(f"--config.data.cache_dir={base / 'cache'}", f"--config.protocol={base}/protocol.json"),
        *more,
    ]


def printed(workdir: Path, base: Path, capsys) -> str:
    """What `python -m lensjax.gates` says."""
    capsys.readouterr()
    from lensjax.gates.__main__ import main as judge

    assert judge([f"--workdir={workdir}", f"--protocol={base}/protocol.json"]) in (20, 21)
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.faults
def test_a_run_scores_both_and_the_gates_count_them(base, given, tmp_path, monkeypatch, capsys):
    """Added to a finished run, as a change that is accepted: nothing is trained again."""
    workdir = shutil.copytree(base / "run", tmp_path / "run")
    call = arguments(base, workdir, *given)
    assert run_command(main.main, call) == ExitCode.MISMATCH
    assert "config.catalogue_stamps.anchors" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", None)
        code = run_command(main.main, [*call, "--accept-change"])
    assert code in (20, 21)
    manifest = json.loads((workdir / "eval/manifest.json").read_text())
    entry = manifest["anchors"]
    assert (entry["n"], entry["stamps"], entry["stamps_of_no_row"]) == (6, 5, 2)
    evaluation = read_evaluation(workdir)
    scores = evaluation.catalogues["anchors"]["logit"]
    assert np.isnan(scores).tolist() == [False] * 5 + [True] and len(np.unique(scores[:5])) == 5
    measured = json.loads((workdir / "measures.json").read_text())["catalogues"]
    assert (measured["anchors"]["n"], measured["anchors"]["missing"]) == (6, 1)
    assert {k: v["n"] for k, v in measured["contaminants"]["by_class"].items()} == {
        "merger": 2,
        "ring": 2,
        "spiral": 2,
    }
    out = printed(workdir, base, capsys)
    assert "anchors 6 of which 1 without a score, counted as missed" in out
    assert "ring: 2 of which 0 without a score" in out and "test arrays opened: 3" in out

    before = {path.name: path.read_bytes() for path in (workdir / "eval").iterdir()}
    monkeypatch.setattr(stages, "make_trainer", None)  # judged again: no model is made
    assert run_command(main.main, [*call, "--accept-change"]) == code
    assert {path.name: path.read_bytes() for path in (workdir / "eval").iterdir()} == before
    monkeypatch.undo()
    (workdir / "eval/anchors.npz").write_bytes(before["anchors.npz"][:-1])
    assert run_command(main.main, [*call, "--accept-change"]) == code
    assert {path.name: path.read_bytes() for path in (workdir / "eval").iterdir()} == before

    stack = np.load(tmp_path / "anchors/stamps.npy")
    np.save(tmp_path / "anchors/stamps.npy", stack * np.float32(2))
    capsys.readouterr()
    assert run_command(main.main, [*call, "--accept-change"]) == ExitCode.MISMATCH
    *_, told = capsys.readouterr().err.splitlines()
    assert "(catalogues.anchors: " in told and "--fresh" in told and "contaminants" not in told
    assert {path.name: path.read_bytes() for path in (workdir / "eval").iterdir()} == before


@needs_real
@pytest.mark.faults
def test_real_lenses_are_found_by_position_and_scored(base, tmp_path, capsys):
    workdir = shutil.copytree(base / "run", tmp_path / "run")
    stamps = shutil.copytree(SHARED / "ps1_lenses_fits", tmp_path / "lenses")
    names = [path.name.removesuffix("_g.fits") for path in LENSES]
    rows = [(f"{name}_{{band}}.fits", "lens", "counts") for name in names]
    write_csv(stamps / "stamps.csv", "file,kind,unit", rows)
    call = arguments(
        *(base, workdir, "--accept-change", f"--config.catalogue_stamps.anchors={stamps}"),
        f"--config.data.anchors={SHARED / 'catalogues/anchors.csv'}",
    )
    assert run_command(main.main, call) == ExitCode.DATA_INVALID
    assert "stamps of anchors have 0.25 arcsec a pixel" in capsys.readouterr().err
    resampled = [*call, "--config.catalogue_stamps.resample=True"]
    assert run_command(main.main, resampled) in (20, 21)
    told = json.loads((workdir / "measures.json").read_text())["catalogues"]
    assert (told["anchors"]["n"], told["anchors"]["scored"]) == (136, 19)
    assert told["contaminants"] == {"state": "not scored"}
    out = printed(workdir, base, capsys)
    assert "136 of which 117 without a score, counted as missed; recall @50 0." in out
