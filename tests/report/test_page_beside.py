"""What the page says of measures.json and eval/saliency.npz: whole, absent, damaged, of another
judgement; and what is shown without the guards."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lensjax import schema
from lensjax.report import reading, write_report

GATES = "python -m lensjax.gates --workdir=DIR"
HOSTILE = r"<script>alert('x')</script> $\frac{1}$ 漢字"
BESIDE = ("strata", "selection_axes", "selection_cells", "calibration", "ranking", "hunter")
SECTIONS = {  # part of measures.json -> id and title of the section
    "strata": ("strata", "Strata"),
    "selection": ("selection", "Selection function"),
    "calibration": ("calibration", "Calibration"),
    "ranking": ("ranking", "The rare end"),
    "hunter": ("hunter", "What the model looks at"),
    "training": ("health", "Red flags"),
}


@pytest.fixture
def copied(files_of_a_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(files_of_a_run, tmp_path / "b3")


class Page:
    """A run's page, written anew, as its reader sees it: `text`, and the words of each section."""

    def __init__(self, workdir: Path):
        source = write_report(workdir).read_text(encoding="utf-8")
        self.text = _words(source[source.index("</style>") :])
        found = re.findall(r'<section id="(\w+)">(.*?)</section>', source, re.DOTALL)
        self.sections = {name: _words(body) for name, body in found}


def _words(source: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]*>", " ", source)))


def change(path: Path, **values: object) -> dict:
    """Fields of a JSON object anew; returns it."""
    told = json.loads(path.read_text()) | values
    path.write_text(json.dumps(told))
    return told


def test_every_part_is_on_the_page_with_its_numbers(copied, undrawn):
    page = Page(copied)
    told = json.loads((copied / "measures.json").read_text())
    worst = told["strata"]["arc_snr"]["bins"][1]
    low, high = worst["ci"]
    assert f"8 to 15: {worst['value']:.3f} ({low:.3f} to {high:.3f})" in page.sections["strata"]
    found = page.sections["selection"]
    assert "96 of 200 lenses found, completeness 0.480 (0.410 to 0.550)" in found
    assert "All 60 cells, 12 of them empty; 200 lenses." in found
    found = page.sections["calibration"]
    assert f"{told['calibration']['maps']['isotonic']['ece']['value']:.3f}" in found
    assert "at least 0.0071" in found
    assert "560 test stamps" in found and "555 val stamps, temperature 1.234" in found
    found = page.sections["ranking"]
    assert "FPR 0.0001: 360 negatives, 100000 needed." in found
    assert "Anchors (real lenses): not scored." in found
    found = page.sections["hunter"]
    hunted = told["hunter"]
    assert f"The score follows: {hunted['looking_at'][0]}, {hunted['looking_at'][1]}." in found
    assert f"action on {hunted['families'][0]['family']}" in found
    found = page.sections["health"]
    for cause, action in schema.RED_FLAGS.values():
        assert cause in found and action in found
    found = page.sections["saliency"]
    assert "24 lenses, 24 non-lenses of test, 95 % intervals" in found
    assert "(48 steps from" in found
    assert "could not be built" not in page.text
    assert "is not drawn" not in page.text


@pytest.mark.parametrize("digest", ["arrays_digest", "protocol_digest"])
def test_measures_of_another_judgement_are_not_drawn(copied, undrawn, digest):
    write_report(copied)
    assert (copied / "figures" / "hunter.png").exists()
    change(copied / "gates.json", **{digest: "0" * 64})
    page = Page(copied)
    why = f"measures.json is not drawn: of another judgement than gates.json ({digest} differs); "
    for name, _ in SECTIONS.values():
        assert f"{why}{GATES} writes it" in page.sections[name]
    assert "96 of 200 lenses found" not in page.text
    left = {path.stem for path in (copied / "figures").iterdir()}
    assert not left & set(BESIDE)
    assert {"gates", "roc", "saliency_profiles"} <= left
    assert "could not be built" not in page.text


def test_measures_of_another_judgement_are_shown_without_the_guard(copied, undrawn, monkeypatch):
    monkeypatch.setattr(reading, "_DIGESTS", ())
    change(copied / "gates.json", arrays_digest="0" * 64)
    assert "96 of 200 lenses found" in Page(copied).text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, reading.ABSENT),
        (b"{", "unreadable"),
        (b"[1]", "not a JSON object"),
        (b"{}", "of another judgement"),
        (b'{"arrays_digest": null, "protocol_digest": null}', "of another judgement"),
        (b"[" * 100_000, "unreadable"),
    ],
)
def test_absent_and_damaged_measures_are_said_with_the_command(copied, undrawn, content, told):
    path = copied / "measures.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    page = Page(copied)
    for name, _ in SECTIONS.values():
        found = page.sections[name]
        assert f"measures.json is not drawn: {told}" in found and GATES in found
    assert told in page.text[page.text.rindex("What is missing") :]
    assert "could not be built" not in page.text


def test_a_run_without_digests_has_no_measures(copied, undrawn):
    """Nothing equals nothing: two files that state no digest are not of one judgement."""
    for name in ("gates.json", "measures.json"):
        change(copied / name, arrays_digest=None)
    assert "of another judgement" in Page(copied).text


@pytest.mark.parametrize("part", SECTIONS)
def test_one_odd_part_leaves_the_others(copied, undrawn, part):
    change(copied / "measures.json", **{part: {"odd": {}}})
    page = Page(copied)
    assert f"This part could not be built ({SECTIONS[part][1]})" in page.text
    assert page.text.count("could not be built") == 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"state": "one class only"}, "Not measured: one class only."),
        (None, "measures.json has no part"),
        ([1], "measures.json has no part"),
    ],
)
def test_parts_that_were_not_measured_say_why(copied, undrawn, value, told):
    change(copied / "measures.json", **dict.fromkeys([*SECTIONS, "catalogues"], value))
    page = Page(copied)
    assert all(told in page.sections[name] for name, _ in SECTIONS.values())
    assert "could not be built" not in page.text


def test_raised_flags_stand_in_the_head_of_the_page(copied, undrawn):
    told = json.loads((copied / "measures.json").read_text())
    flag = next(each for each in told["training"]["flags"] if each["flag"] == "overfitting")
    assert "red flag overfitting" not in Page(copied).text
    flag |= {"raised": True, "value": 0.134, "epoch": 7, "epochs": 3}
    change(copied / "measures.json", training=told["training"])
    page = Page(copied)
    cause, action = schema.RED_FLAGS["overfitting"]
    assert page.text.index(f"red flag overfitting: {cause}. {action}") < page.text.index(
        " experiment "
    )
    found = page.sections["health"]
    assert "RAISED" in found and "value 0.134, first at epoch 7, in 3" in found


def test_scored_catalogues_are_tables(copied, undrawn):
    def rate(value: float) -> dict:
        return {"found": 3, "value": value, "ci": [value - 0.1, value + 0.1]}

    above = [{"score": 0.5, **rate(0.31)}]
    ring = {"n": 55, "scored": 54, "missing": 1, "fpr_above": [{"score": 0.5, **rate(0.42)}]}
    anchors = {
        "n": 68,
        "scored": 66,
        "missing": 2,
        "negatives": 360,
        "recall_at": [{"k": 50, **rate(0.21), "ceiling": 0.7}],
        "recall_above": above,
    }
    contaminants = {"n": 60, "scored": 59, "missing": 1, "fpr_above": above}
    contaminants["by_class"] = {"ring": ring}
    catalogues = {"anchors": anchors, "contaminants": contaminants}
    change(copied / "measures.json", catalogues=catalogues)
    found = Page(copied).sections["ranking"]
    assert "68 anchors (real lenses), 2 without a score, counted as missed" in found
    assert "among the 50 highest 3 0.210 0.110 to 0.310" in found
    assert "ring 55 1 0.420 0.320 to 0.520" in found


def test_words_of_measures_stay_text(copied, undrawn):
    told = json.loads((copied / "measures.json").read_text())
    family = told["hunter"]["families"][0]
    family |= dict.fromkeys(("family", "about", "reading", "action"), HOSTILE)
    told["hunter"]["features"][0]["feature"] = HOSTILE
    told["training"]["flags"][0] |= {"flag": HOSTILE, "cause": HOSTILE, "raised": True}
    told["selection"] = {"state": HOSTILE}
    change(copied / "measures.json", **told)
    source = write_report(copied).read_text(encoding="utf-8")
    assert "<script" not in source
    assert html.unescape(source).count(HOSTILE) > 6
    assert "could not be built" not in source


def test_absent_saliency_is_said_with_the_command(copied, undrawn):
    (copied / "eval" / "saliency.npz").unlink()
    found = Page(copied).sections["saliency"]
    assert "eval/saliency.npz is not drawn: not written by this run; python main.py" in found


def _resave(workdir: Path, restate: bool, **changes: np.ndarray) -> None:
    """The arrays of saliency.npz with changes, named by the manifest or not."""
    path = workdir / "eval" / "saliency.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    np.savez(path, **arrays)
    if restate:
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        change(workdir / "eval" / "manifest.json", saliency={"file": path.name, "sha256": sha})


def test_saliency_of_another_evaluation_is_not_drawn(copied, undrawn):
    _resave(copied, restate=False, steps=np.array([144]))
    page = Page(copied)
    why = "not the file that eval/manifest.json names (its sha256 differs); python main.py"
    assert why in page.sections["saliency"]
    assert "144 steps" not in page.text
    change(copied / "eval" / "manifest.json", saliency=None)
    assert why in Page(copied).text


def test_saliency_of_another_evaluation_is_shown_without_the_guard(copied, undrawn, monkeypatch):
    monkeypatch.setattr(
        reading,
        "_read_saliency",
        lambda workdir, _, absences: reading._read_arrays(
            workdir, reading.SALIENCY, reading.SALIENCY_ARRAYS, absences
        ),
    )
    _resave(copied, restate=False, steps=np.array([144]))
    assert "144 steps" in Page(copied).text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gradient": np.zeros((48, 31, 3))}, "gradient has shape (48, 31, 3)"),
        ({"annulus_pixels": np.ones(45)}, "annulus_pixels has shape (45,)"),
        ({"example_gradient": np.zeros((1, 64, 64, 3))}, "example_gradient has shape"),
        ({"steps": np.zeros(2)}, "steps has shape (2,)"),
    ],
)
def test_misshapen_saliency_is_named(copied, changes, told):
    _resave(copied, restate=True, **changes)
    run = reading.read_run(copied)
    assert run.saliency is None
    assert told in run.why_without(reading.SALIENCY)


def test_damaged_saliency_is_named(copied):
    path = copied / "eval" / "saliency.npz"
    path.write_bytes(path.read_bytes()[:9000])
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    change(copied / "eval" / "manifest.json", saliency={"sha256": sha})
    assert "unreadable" in reading.read_run(copied).why_without(reading.SALIENCY)


def test_maps_are_not_drawn_on_other_stamps(copied, undrawn):
    with np.load(copied / "eval" / "saliency.npz") as archive:
        ids = archive["example_stamp_id"]
    _resave(copied, restate=True, example_stamp_id=ids[::-1])
    page = Page(copied)
    assert (
        "Maps are not drawn: eval/saliency.npz and eval/examples.npz are of other stamps"
        in page.text
    )
    assert not (copied / "figures" / "saliency_examples.png").exists()


def test_every_gate_that_is_not_passed_is_listed(copied, undrawn):
    page = Page(copied)
    assert "gates passed without a warning; the others:" in page.text
    assert "survey (reported): FAIL" in page.sections["gates"]
    told = "core_lr_auc (required): INCONCLUSIVE, with a warning, fewer than 60 bricks"
    assert told in page.sections["gates"]


def test_no_escape_of_a_control_character_stands_on_the_page(complete_run):
    """What lensjax itself writes needs none."""
    page = (complete_run / "report.html").read_text()
    assert re.findall(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}", page) == []
