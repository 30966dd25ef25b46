"""Evaluation arrays that are not what they should be end in exit 22, before any gate."""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lensjax.gates.arrays import read_evaluation
from lensjax.schema import LensjaxError
from tests.gates.synthetic import edit_json, save_split, write_evaluation


@pytest.fixture
def run(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "run"))


def refused(run: Path) -> str:
    with pytest.raises(LensjaxError) as caught:
        read_evaluation(run)
    assert caught.value.code == 22
    return str(caught.value)


def resave(run: Path, split: str, change) -> None:
    """Change the arrays of a split, and its manifest along, as a faulty writer would."""
    with np.load(run / f"eval/{split}.npz") as archive:
        arrays = dict(archive)
    change(arrays)
    entry = save_split(run, split, arrays)
    edit_json(run / "eval/manifest.json", lambda m: m["splits"].update({split: entry}))


def test_sound_arrays_are_read(clean: Path) -> None:
    found = read_evaluation(clean)
    assert len(found.test["label"]) == found.manifest["splits"]["test"]["n"]
    assert found.digest == read_evaluation(clean).digest


@pytest.mark.proves("S6")
@pytest.mark.harm("S6")
def test_a_flipped_bit_is_found(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control has no digest to go by (the manifest is forged along) and no checksum of the
    zip: another score is read, and nobody notices."""
    path = run / "eval/test.npz"
    sound = read_evaluation(run).test["logit"].copy()
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("logit.npy").header_offset + 30 + len("logit.npy")
    content[at + 128 + 402] ^= 0x01
    path.write_bytes(content)
    assert "SHA-256 differs" in refused(run)

    sha = hashlib.sha256(content).hexdigest()
    edit_json(run / "eval/manifest.json", lambda m: m["splits"]["test"].update(sha256=sha))
    assert "not an npz" in refused(run)
    monkeypatch.setattr(zipfile.ZipExtFile, "_update_crc", lambda self, data: None)
    assert (read_evaluation(run).test["logit"] != sound).sum() == 1


@pytest.mark.proves("T9")
def test_arrays_of_another_split_are_found(run: Path) -> None:
    """Scores of other rows than the test manifest's; with the manifest forged along, the two
    splits still share their rows."""
    shutil.copy(run / "eval/val.npz", run / "eval/test.npz")
    assert "of other rows than the test manifest's" in refused(run)
    edit_json(
        run / "eval/manifest.json",
        lambda m: m["splits"]["test"].update(sha256=m["splits"]["val"]["sha256"]),
    )
    assert "val and test share" in refused(run)


@pytest.mark.proves("S6")
def test_ids_that_are_not_the_manifests_are_found(run: Path) -> None:
    edit_json(run / "eval/manifest.json", lambda m: m["splits"]["test"].update(ids_sha256="0" * 64))
    assert "stamp ids are not in the test manifest" in refused(run)


@pytest.mark.proves("S6")
def test_arrays_of_another_run_are_found(run: Path, small, tmp_path) -> None:
    other = write_evaluation(tmp_path / "other", small, seed=9)
    shutil.copy(other / "eval/val.npz", run / "eval/val.npz")
    assert "val.npz: is not the file that eval/manifest.json names" in refused(run)


def _set(name: str, row: int, value):
    def change(arrays) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][row] = value

    return change


CHANGES = {
    "array logit is missing": lambda a: a.pop("logit"),
    "logit is not finite in 1 rows, first 'test-000003'": _set("logit", 3, np.nan),
    "logit_core_only is not finite": _set("logit_core_only", 3, np.inf),
    "logit_core_masked is not finite": _set("logit_core_masked", 3, np.nan),
    "logit_core_masked at r = 0 is not logit": _set("logit", 3, 40.0),
    "logit_hard_negative is not one finite number in 1 pairs": _set(
        "logit_hard_negative", 3, np.nan
    ),
    "rows without a partner": _set("logit_hard_negative", -1, 1.0),
    "labels other than 0 and 1": _set("label", 3, 2),
    "stamp_id 'test-000001' is there twice": _set("stamp_id", 0, "test-000001"),
    "has two rows of one label": _set("pair_id", 0, "test-p000001"),
    "negative_kind must be empty": _set("negative_kind", 0, "ring"),
    "theta_e_arcsec is a number in rows without an arc": _set("theta_e_arcsec", 1, 1.0),
    "arc_snr is a number in rows without an arc": _set("arc_snr", 1, 0.0),
    "arc_snr_shot is a number in rows without an arc": _set("arc_snr_shot", 1, 0.0),
    "has both classes in an unpaired manifest": _set("in_manifest", slice(None), True),
    "psf_depth has 1499 rows, the manifest says 1500": lambda a: a.update(
        psf_depth=a["psf_depth"][1:]
    ),
    "core_box is float32 (1500, 300)": lambda a: a.update(
        core_box=a["core_box"].reshape(1500, 300)
    ),
    "label is float64": lambda a: a.update(label=a["label"].astype(float)),
}


@pytest.mark.proves("S6")
@pytest.mark.parametrize("told", CHANGES)
def test_impossible_arrays_are_refused(run: Path, told: str) -> None:
    resave(run, "test", CHANGES[told])
    assert told in refused(run)


def test_objects_bombs_and_doubles_are_refused(run: Path) -> None:
    path = run / "eval/test.npz"

    def replaced(members) -> str:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        path.write_bytes(buffer.getvalue())
        sha = hashlib.sha256(buffer.getvalue()).hexdigest()
        edit_json(run / "eval/manifest.json", lambda m: m["splits"]["test"].update(sha256=sha))
        return refused(run)

    pickled = io.BytesIO()
    np.save(pickled, np.array([print], object), allow_pickle=True)
    zeros = io.BytesIO()
    np.save(zeros, np.zeros(10_000_000))
    short = zeros.getvalue()[:4000]
    assert "not an npz of plain arrays" in replaced([("logit.npy", pickled.getvalue())])
    assert "far more than its size" in replaced([("logit.npy", zeros.getvalue())])
    assert "does not fit its bytes" in replaced([("logit.npy", short)])
    with pytest.warns(UserWarning, match="Duplicate"):
        assert "an array twice" in replaced([("logit.npy", short)] * 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m.pop("evidence"), "evidence is missing"),
        (lambda m: m.update(mode="pair"), "mode is 'pair', not one of paired, unpaired"),
        (lambda m: m.update(preprocessing="residual"), "preprocessing is 'residual'"),
        (lambda m: m["population"].update(theta_e="wide"), "population.theta_e is not"),
        (lambda m: m["splits"].pop("val"), "splits.val does not name val.npz"),
        (lambda m: m["splits"]["val"].update(file="../val.npz"), "does not name val.npz"),
        (lambda m: m["splits"]["test"].update(n=7), "has 1500 rows, the manifest says 7"),
        (lambda m: m.update(extra=float("nan")), "cannot be read"),
    ],
)
def test_a_damaged_manifest_is_refused(run: Path, change, told: str) -> None:
    edit_json(run / "eval/manifest.json", change)
    assert told in refused(run)


def test_without_manifest_or_file_the_evaluation_is_incomplete(run: Path) -> None:
    (run / "eval/test.npz").rename(run / "eval/test.part")
    assert "test.npz: cannot be read" in refused(run)
    (run / "eval/manifest.json").write_text("[]")
    assert "is not an object" in refused(run)
    (run / "eval/manifest.json").unlink()
    assert "incomplete" in refused(run)


def damaged(run: Path) -> Iterator[None]:
    """90 mutations of the arrays of val, their digest forged along, and of the manifest."""
    rng = np.random.default_rng(0)
    path, manifest = run / "eval/val.npz", run / "eval/manifest.json"
    sound, told = path.read_bytes(), manifest.read_text()
    with zipfile.ZipFile(path) as archive:
        heads = np.array([info.header_offset for info in archive.infolist()])
    for k in range(90):
        content, text = bytearray(sound), bytearray(told.encode())
        if k % 3:
            at = rng.choice(heads) + rng.integers(0, 160) if k % 2 else rng.integers(len(content))
            content[min(at, len(content) - 1)] = rng.integers(256)
            document = json.loads(told)
            sha = hashlib.sha256(content).hexdigest()
            document["splits"]["val"]["sha256"] = sha
            text = json.dumps(document).encode()
        else:
            text[rng.integers(len(text))] = rng.integers(256)
        path.write_bytes(content)
        manifest.write_bytes(text)
        yield


@pytest.mark.proves("S9")
def test_random_damage_ends_in_the_documented_way(run: Path) -> None:
    """Exit 22, or read."""
    codes = []
    for _ in damaged(run):
        try:
            read_evaluation(run)
        except LensjaxError as error:
            codes.append(error.code)
    assert set(codes) == {22} and 20 < len(codes) < 90


@pytest.mark.harm("S9")
def test_random_damage_comes_out_of_numpy_as_it_likes(run: Path) -> None:
    """Of numpy.load and json alone: errors that nobody documented."""
    kinds = set()
    for _ in damaged(run):
        try:
            json.loads((run / "eval/manifest.json").read_bytes())
            with np.load(run / "eval/val.npz") as stored:
                dict(stored)
        except Exception as error:
            kinds.add(type(error).__name__)
    assert len(kinds) >= 3, kinds
