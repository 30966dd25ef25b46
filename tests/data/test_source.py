"""Sources by config, and the simulated one."""

import sys
import types

import numpy as np
import pytest

from lensjax.configuration import load_config
from lensjax.data.files import FileSource
from lensjax.data.source import SOURCES, open_source
from lensjax.data.stampset import content_digest
from lensjax.schema import ExitCode, LensjaxError


def config(tmp_path, **changes):
    """The `data` and `population` parts of a config."""
    plain = load_config("configs/b3.py:tiny").data
    sizes = {"pairs": (6, 4, 4), "lookalikes": (4, 4, 4), "hosts_per_brick": 2}
    data = {**dict(plain.items()), "cache_dir": str(tmp_path), **sizes, **changes}
    population = types.SimpleNamespace(theta_e=(1.5, 2.5), arc_snr=(8.0, 50.0))
    return types.SimpleNamespace(**data), population


def test_simulated_sets_are_sound_and_repeat(tmp_path):
    source = open_source(*config(tmp_path))
    findings = []
    made = {split: source.read(split, findings) for split in source.splits()}
    assert findings == []
    assert [len(made[split]) for split in ("train", "val", "test")] == [16, 12, 12]
    table = made["train"].table
    assert (table["label"] == 1).sum() == 6
    assert (table["negative_kind"] == "control").sum() == 6
    assert ((table["theta_e_arcsec"] >= 1.5) & (table["theta_e_arcsec"] <= 2.5)).sum() == 6
    ids = np.concatenate([one.table["stamp_id"] for one in made.values()])
    assert len(set(ids)) == len(ids)
    bricks = [set(one.table["brick"]) for one in made.values()]
    assert not bricks[0] & bricks[1] and not bricks[0] & bricks[2] and not bricks[1] & bricks[2]
    assert content_digest(source.read("val", None)) == content_digest(made["val"])


def test_digest_follows_every_parameter(tmp_path):
    changes = (
        {},
        {"seed": 43},
        {"pairs": (7, 4, 4)},
        {"lookalikes": (4, 4, 5)},
        {"hosts_per_brick": 3},
    )
    digests = {open_source(*config(tmp_path, **change)).digest() for change in changes}
    data, population = config(tmp_path)
    digests.add(open_source(data, population).digest())
    population.arc_snr = (8.0, 49.0)
    digests.add(open_source(data, population).digest())
    assert len(digests) == len(changes) + 1


def test_digest_follows_the_simulator_s_code(tmp_path, monkeypatch):
    first, second = tmp_path / "a", tmp_path / "b"
    digests = set()
    for folder, text in ((first, "x = 1\n"), (second, "x = 2\n")):
        folder.mkdir()
        (folder / "code.py").write_text(text)
        spec = types.SimpleNamespace(submodule_search_locations=[str(folder)])
        monkeypatch.setattr("importlib.util.find_spec", lambda name, spec=spec: spec)
        digests.add(open_source(*config(tmp_path)).digest())
    assert len(digests) == 2


def faulty_simulator():
    """A simulator whose second pair has a NaN in its control."""

    def simulate_split(split, *, seed, n_pairs, n_lookalikes, progress, **population):
        del seed, n_lookalikes, population
        n = 2 * n_pairs
        stamps = np.random.default_rng(0).normal(size=(n, 64, 64, 3)).astype(np.float32)
        stamps[3, 5, 5, 2] = np.nan
        label = 1 - np.arange(n) % 2
        pair = [f"{split}-{i // 2}" for i in range(n)]
        table = {
            "stamp_id": [f"{p}-{'cs'[one]}" for p, one in zip(pair, label, strict=True)],
            "pair_id": pair,
            "lrg_id": pair,
            "brick": ["b"] * n,
            "split": [split] * n,
            "label": label,
            "negative_kind": ["" if one else "control" for one in label],
            "theta_e_arcsec": np.where(label, 1.0, np.nan),
            "arc_snr": np.where(label, 9.0, np.nan),
            "arc_snr_shot": np.where(label, 8.5, np.nan),
            "source_file": [""] * n,
            **{name: np.zeros(n, int) for name in ("psf_bin", "depth_bin", "source_row")},
            **{name: np.ones(n) for name in ("ra", "dec", "psf_fwhm_arcsec", "psf_depth")},
            **{name: np.ones(n) for name in ("ebv", "pixel_scale_arcsec")},
        }
        progress(n_pairs)
        return table, stamps

    module = types.ModuleType("lensjax.simulate")
    module.simulate_split = simulate_split
    return module


def test_simulated_stamps_are_validated_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lensjax.simulate", faulty_simulator())
    source = open_source(*config(tmp_path))
    findings = []
    made = source.read("train", findings)
    assert [one.where for one in findings] == ["simulated train-1-c band z"]
    assert len(made) == 10 and "train-1" not in made.table["pair_id"]
    assert list(made.table["stamp_id"]) == sorted(made.table["stamp_id"])
    with pytest.raises(LensjaxError, match="1 NaN") as caught:
        source.read("train", None)
    assert caught.value.code == ExitCode.DATA_INVALID
    monkeypatch.setattr("lensjax.data.source.validate", lambda stamps: [])
    assert np.isnan(source.read("train", None).stamps).any()  # the guard off


def test_a_root_turns_sim_into_parquet(small_set, tmp_path):
    source = open_source(*config(tmp_path, root=str(small_set.write())))
    assert isinstance(source, FileSource) and source.form.name == "parquet"
    assert len(source.read("val", None)) == 8


@pytest.mark.parametrize("name", SOURCES[1:])
def test_another_source_keeps_its_name(small_set, tmp_path, name):
    """A root means parquet only where nothing else was asked for."""
    source = open_source(*config(tmp_path, root=str(small_set.write()), source=name))
    assert isinstance(source, FileSource) and source.form.name == name


def test_the_digest_is_of_the_format_too(small_set, tmp_path):
    """The same bytes read otherwise are other stamps."""
    root = str(small_set.write())
    digests = {
        open_source(*config(tmp_path, root=root, source=name)).digest() for name in SOURCES[1:]
    }
    assert len(digests) == len(SOURCES) - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "parqet"}, "Did you mean 'parquet'"),
        ({"source": "parquet"}, "needs data.root"),
        ({"root": "/nowhere/at/all"}, "no such directory"),
        ({"root": "nosuchscheme://x"}, "no filesystem"),
    ],
)
def test_wrong_configs_are_usage_errors(tmp_path, changes, message):
    with pytest.raises(LensjaxError, match=message) as caught:
        open_source(*config(tmp_path, **changes))
    assert caught.value.code == ExitCode.USAGE
