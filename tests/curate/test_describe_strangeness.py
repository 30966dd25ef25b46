"""Each ranking puts a planted oddity first, with its number; unusable stamps are marked."""

import dataclasses

import numpy as np
import pytest

from lensjax import schema
from lensjax.checks.scan import scan_files, scan_sets
from lensjax.curate import outliers, strangeness
from lensjax.curate.contact_sheet import BAD_PIXEL, Pictures, draw, marked
from lensjax.curate.pixels import EXTREMES, bad_pixels, extremes, look
from lensjax.curate.ranking import SHOWN, ranked

RADIUS = schema.radius_map()


def every_ranking(source):
    scan = scan_files(source, workers=1, progress=False)
    looked = look(scan, source, workers=1, progress=False)
    found = {(r.check, r.name): r for r in strangeness.rankings(scan, looked)}
    return scan, looked, found


@pytest.fixture
def ranked_after(galaxies, open_root, tmp_path):
    """The rankings of the set once `plant` has changed it."""

    def run(plant):
        plant(galaxies)
        return every_ranking(open_root(galaxies.write(tmp_path / "root")))

    return run


# -- what is planted, each in row 3 of val (or there and elsewhere) -----------------------------


def pixel(value, at=(40, 12), members=(0, 1), band=2):
    def plant(galaxies):
        for member in members:
            galaxies.pixels["val"][member, 3, band][at] = value

    return plant


def scaled(galaxies):
    galaxies.pixels["val"][:, 3] *= 500.0


def quiet_outskirts(galaxies):
    """The annulus of one band, noise a hundredth of what it was."""
    galaxies.pixels["val"][:, 3, 1][:, RADIUS >= 20] *= 0.01


def flat(galaxies):
    galaxies.pixels["val"][:, 3, 0] *= 0.001


def light_outside(galaxies):
    galaxies.pixels["val"][0, 3, 1, 2:5, 2:5] += 1.0


def exchanged(galaxies):
    galaxies.pixels["val"][:, 3] = galaxies.pixels["val"][::-1, 3].copy()


def another_sky(galaxies):
    galaxies.pixels["val"][1, 3] = galaxies.pixels["val"][1, 4]


def near_train(galaxies):
    for name in ("ra", "dec"):
        galaxies.columns["val"][name][3] = galaxies.columns["train"][name][2] + 30.0 / 3600


def noisy_copy(galaxies):
    copy = np.rot90(galaxies.pixels["train"][:, 2], axes=(-2, -1))
    noise = np.random.default_rng(5).normal(0, 1e-4, copy.shape)
    galaxies.pixels["val"][:, 3] = copy + noise


def odd_psf(galaxies):
    galaxies.columns["val"]["psf_fwhm_used_r"][3] = 4.0


def correlated_sky(galaxies):
    planes = galaxies.pixels["val"][:, 3]
    galaxies.pixels["val"][:, 3] = (planes + np.roll(planes, 1, -1) + np.roll(planes, 1, -2)) / 3


PLANTED = {
    ("stamps", "largest"): scaled,
    ("stamps", "brightest"): pixel(900.0),
    ("stamps", "darkest"): pixel(-900.0),
    ("stamps", "narrowest"): quiet_outskirts,
    ("stamps", "flattest"): flat,
    ("pairs", "outside"): light_outside,
    ("pairs", "difference"): exchanged,
    ("pairs", "sky"): another_sky,
    ("splits", "separation"): near_train,
    ("duplicates", "noise"): noisy_copy,
    ("labels", "metadata"): odd_psf,
    ("survey_shortcut", "outskirts"): correlated_sky,
}


@pytest.mark.parametrize("ranking", PLANTED, ids="-".join)
def test_what_is_planted_is_first(ranking, ranked_after):
    scan, _, found = ranked_after(PLANTED[ranking])
    first = {scan.rows.where(row).removesuffix(" (control)") for row in found[ranking].rows[0]}
    assert "val/part-0.parquet row 3" in first
    assert len(np.unique(scan.rows.host[found[ranking].rows[:, 0]])) == len(found[ranking].rows)


def test_without_the_plant_it_is_not_first(galaxies, open_root, tmp_path):
    scan, _, found = every_ranking(open_root(galaxies.write(tmp_path / "root")))
    firsts = {key: scan.rows.where(found[key].rows[0, 0]) for key in PLANTED}
    assert sum(place.startswith("val/part-0.parquet row 3") for place in firsts.values()) < 6


def test_the_numbers_are_those_of_the_pixels(ranked_after):
    scan, _, found = ranked_after(pixel(900.0))
    brightest, largest = found["stamps", "brightest"], found["stamps", "largest"]
    assert largest.values[0] == 900.0 and largest.notes[0] == "band z"
    plane = scan.fetch(brightest.rows[0])[0, ..., 2].astype(np.float64)
    annulus = plane[(RADIUS >= 20) & (RADIUS < 32)]
    mad = np.median(np.abs(annulus - np.median(annulus)))
    sigmas = (900.0 - np.median(annulus)) / (1.4826 * mad)
    assert brightest.values[0] == pytest.approx(sigmas, rel=2e-3)


def test_separations_and_pairs_have_their_numbers(ranked_after):
    def plant(galaxies):
        near_train(galaxies)
        light_outside(galaxies)

    scan, _, found = ranked_after(plant)
    separation = found["splits", "separation"]
    assert {int(scan.rows.split[row]) for row in separation.rows[0]} == {0, 1}
    assert separation.values[0] == pytest.approx(30 * np.sqrt(2), rel=2e-3)
    stamp, control = scan.fetch(found["pairs", "outside"].rows[0])[..., 1]
    gap = np.abs(stamp - control)
    row = found["pairs", "outside"].rows[0, 0]
    reach = 3 * scan.rows.numbers["theta_e_arcsec"][row]
    reach = (reach + 2 * scan.rows.numbers["psf_fwhm_arcsec"][row]) / 0.262
    assert found["pairs", "outside"].values[0] == pytest.approx(
        gap[reach < RADIUS].sum() / gap.sum(), rel=1e-4
    )


def test_metadata_that_give_the_label_away_are_ranked(galaxies, open_root, tmp_path):
    """Lenses with another depth than look-alikes: those of the clearest depth first."""
    source = open_root(galaxies.write(tmp_path / "root"))
    sets = {split: source.read(split, None) for split in schema.SPLITS}
    for one in sets.values():
        one.table["psf_depth"][:] += 0.5 * (one.table["label"] == 1)
    sets["val"].table["psf_depth"][5] = 28.0  # val-002-s
    scan = scan_sets(sets, progress=False)
    score = outliers.of_metadata_score(scan.rows)
    assert scan.rows.name(score.rows[0, 0]) == "val-002-s" and score.values[0] > 1
    assert score.scored == 44


def test_pairs_that_share_their_metadata_tell_nothing(ranked_after):
    _, _, found = ranked_after(lambda galaxies: None)
    assert len(found["metadata_shortcut", "score"].rows) == 0


def test_of_each_host_the_strangest_alone_is_listed():
    name = ("stamps", "x", "X", "x")
    rows, hosts = np.arange(40)[:, None], np.repeat(np.arange(20), 2)
    values = np.arange(40.0)
    values[39] = np.nan
    found = ranked(name, rows, values, hosts)
    assert found.rows[:, 0].tolist() == [38, *range(37, 37 - 2 * (SHOWN - 1), -2)]
    assert found.scored == 39
    assert ranked(name, rows, values, hosts, smallest=True).values.tolist() == list(range(0, 20, 2))


def test_one_value_cannot_hide_itself():
    values = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 50.0])
    plain = (values - values.mean()) / values.std()
    assert outliers.sigmas(values)[-1] > 100 > 10 * plain[-1]
    assert outliers.sigmas(np.array([0.262] * 99 + [0.4]))[-1] > 50
    assert outliers.sigmas(np.full(4, 2.0)).tolist() == [0.0] * 4


def test_rounding_is_no_spread(monkeypatch):
    """Equal numbers that differ in their last digit have a MAD of 1e-16: not a scale to rank by."""
    rounding = 1e-16 * np.random.default_rng(0).standard_normal(999)
    one_apart = np.append(0.262 + rounding, 0.4)
    assert 100 < outliers.sigmas(one_apart)[-1] < 1000  # as where the 999 are equal
    assert not outliers.sigmas(0.262 + rounding).any()
    around_zero = outliers.sigmas(np.append(rounding, 1.0))
    assert 100 < around_zero[-1] < 1000 and np.abs(around_zero[:-1]).max() < 1
    monkeypatch.setattr(outliers, "_ROUNDING", 0.0)
    assert outliers.sigmas(one_apart)[-1] > 1e13  # the guard off


def test_features_that_only_together_are_odd_are_found():
    rng = np.random.default_rng(3)
    common = rng.standard_normal(400)
    away = np.stack([common, common + 0.1 * rng.standard_normal(400)], axis=1)
    away[17] = (1.5, -1.5)
    found = outliers.mahalanobis(away)
    assert found.argmax() == 17 and found[17] > 10
    away[3, 0] = np.nan
    assert np.isnan(outliers.mahalanobis(away)[3])


def test_extremes_of_pixels_that_are_not_finite_are_none():
    planes = np.random.default_rng(0).normal(0, 1, (3, 3, 64, 64)).astype(np.float32)
    planes[1, 0, 5, 5] = np.nan
    found = extremes(planes)
    assert np.isnan(found.values[1]).all() and np.isfinite(found.values[[0, 2]]).all()


@pytest.mark.parametrize("crowd", [strangeness._NEIGHBOURS, 128])
def test_copies_are_found_among_hosts_of_many_rows(
    crowd, galaxies, open_root, tmp_path, monkeypatch
):
    """Eight arcs on one host leave its noise nearly the same; so with the host that copies it.
    With no further look than at the nearest four, they see their own alone."""
    source = open_root(galaxies.write(tmp_path / "root"))
    scan = scan_files(source, workers=1, progress=False)
    rng = np.random.default_rng(2)
    prints = np.repeat(3.0 * rng.standard_normal((22, 12)), 8, axis=0)
    prints[-8:] = prints[:8] + 0.28 / np.sqrt(12)
    prints += rng.uniform(-0.01, 0.01, prints.shape)
    host = np.repeat(np.arange(22, dtype=np.int32), 8)
    rows = scan.rows.keep(np.arange(44) < 1)
    rows = dataclasses.replace(rows, host=host, split=np.zeros(len(host), np.int8))
    measured = scan.measured._replace(fingerprint=prints)
    monkeypatch.setattr(strangeness, "CELL", 1e-3)
    monkeypatch.setattr(strangeness, "_CROWD", crowd)
    found = strangeness.of_duplicates(rows, measured)
    nearest = [
        (host[pair].tolist(), value < 0.4)
        for pair, value in zip(found.rows, found.values, strict=True)
    ]
    assert (nearest[:1] == [([0, 21], True)]) == (crowd > 8)


# -- unusable stamps, and what is fetched ---------------------------------------------------------


def test_unusable_stamps_are_seen_and_their_pixels_marked(ranked_after):
    def plant(galaxies):
        galaxies.pixels["val"][0, 3, 1, 10, 20] = np.nan
        galaxies.pixels["val"][1, 4, 2, 11, 21] = -999.0

    scan, looked, found = ranked_after(plant)
    assert scan.set_aside == 2
    assert [one.where for one in looked.unusable] == [
        "val/part-0.parquet row 3",
        "val/part-0.parquet row 4 (control)",
    ]
    assert (
        looked.unusable[0].causes == ("band g: 1 NaN",) or "band r" in looked.unusable[0].causes[0]
    )
    assert "1 NaN" in looked.unusable[0].causes[0] and "fill" in looked.unusable[1].causes[0]
    for one, at in zip(looked.unusable, ((10, 20), (11, 21)), strict=True):
        assert one.planes is not None
        assert np.argwhere(bad_pixels(np.moveaxis(one.planes, 0, -1))).tolist() == [list(at)]
        picture = marked(one.planes)
        assert picture[at] == pytest.approx(BAD_PIXEL)
        inside = picture[at[0] - 2 : at[0] + 3, at[1] - 2 : at[1] + 3]
        assert (inside == BAD_PIXEL).all(-1).sum() == 1
        assert (picture == BAD_PIXEL).all(-1).sum() == 1 + 4 * 6  # and its frame
    shown = {scan.rows.where(row) for r in found.values() for row in r.rows.ravel()}
    assert not any("val/part-0.parquet row 3" in place for place in shown)


def test_many_rows_are_looked_at_once_and_few_pixels_kept(galaxies, open_root, tmp_path):
    """A set of the largest size is never in memory: pixels are fetched for what is shown alone."""
    galaxies.pixels["train"][0, :, 0, 0, 0] = np.inf
    source = open_root(galaxies.write(tmp_path / "root"))
    scan = scan_files(source, workers=1, progress=False)

    def fetch(rows):
        raise AssertionError("files are looked at in their pieces")

    bare = type(scan)(**{**scan.__dict__, "fetch": fetch})
    looked = look(bare, source, workers=1, progress=False)
    assert np.isfinite(looked.values).all() and looked.values.shape == (24, len(EXTREMES))
    assert len(looked.unusable) == 10
    asked = []

    def counted(rows):
        asked.append(len(rows))
        return scan.fetch(rows)

    drawn = draw(scan, 1)
    Pictures(type(scan)(**{**scan.__dict__, "fetch": counted}), drawn.values())
    assert asked == [len(np.unique(np.concatenate([x.ravel() for x in drawn.values()])))]


def test_the_same_is_seen_of_files_and_of_sets(galaxies, open_root, tmp_path):
    source = open_root(galaxies.write(tmp_path / "root"))
    files = scan_files(source, workers=1, progress=False)
    sets = scan_sets({k: source.read(k, None) for k in schema.SPLITS}, progress=False)
    seen = look(files, source, workers=1, progress=False)
    other = look(sets, None, workers=1, progress=False)
    order, again = np.argsort(files.rows.stamp_id), np.argsort(sets.rows.stamp_id)
    np.testing.assert_array_equal(seen.values[order], other.values[again])
    np.testing.assert_array_equal(seen.band[order], other.band[again])


def test_random_stamps_are_of_their_class_and_of_the_seed(galaxies, open_root, tmp_path):
    scan = scan_files(open_root(galaxies.write(tmp_path / "root")), workers=1, progress=False)
    drawn = draw(scan, 1)
    for name, rows in drawn.items():
        split, kind = name.split(" ")
        assert (scan.rows.split[rows] == schema.SPLITS.index(split)).all()
        if kind in ("lens", "control"):
            assert (scan.rows.label[rows] == (kind == "lens")).all() and len(rows) > 5
        if kind == "pair":
            assert (scan.rows.pair[rows[:, 0]] == scan.rows.pair[rows[:, 1]]).all()
    assert all(np.array_equal(draw(scan, 1)[name], rows) for name, rows in drawn.items())
    assert not np.array_equal(draw(scan, 2)["train lens"], drawn["train lens"])
