"""The page: what it says of complete, partial, damaged and hostile runs; that it stands alone."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lensjax import schema
from lensjax.gates import core
from lensjax.report import __main__ as command
from lensjax.report import (
    album,
    drawn,
    markup,
    measures,
    page,
    reading,
    saliency,
    sheets,
    write_report,
)
from lensjax.report import words as words_module
from lensjax.report.markup import tag
from lensjax.report.reading import read_run
from lensjax.report.verdict import verdict_banner

HOSTILE = "<script>alert('x')</script>\"&\x1b[2J\u202egnp.exe"


class Outline(HTMLParser):
    """What a page is made of; fails on tags that do not nest."""

    def __init__(self, source: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader sees, in one line."""
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, name: str) -> list[dict[str, str | None]]:
        """Attributes of every element of that name."""
        return [attributes for tag, attributes in self.tags if tag == name]


def read_page(workdir: Path) -> Outline:
    return Outline((workdir / "report.html").read_text(encoding="utf-8"))


def change(path: Path, **changes) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="module")
def complete(complete_run: Path) -> Outline:
    """The page of the complete run."""
    return read_page(complete_run)


@pytest.fixture
def copied(complete_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(complete_run, tmp_path / "b3")


def test_verdict_and_what_held_it_up_come_first(complete):
    assert complete.text.index("YELLOW: not proven") < complete.text.index("PASS")
    assert "core_lr_auc: INCONCLUSIVE, with a warning (fewer than 60 bricks)" in complete.text


def test_population_stands_beside_the_verdict(complete, complete_run):
    """The numbers, counted here from the arrays."""
    with np.load(complete_run / "eval" / "test.npz") as arrays:
        rows = {name: arrays[name][arrays["in_manifest"]] for name in arrays.files}
    lens = rows["label"] == 1
    lookalike = ~lens & (rows["negative_kind"] != "control")
    gap = rows["logit"][lens][:, None] - rows["logit"][lookalike][None, :]
    share = 100 * lookalike.sum() / (~lens).sum()
    for words in (
        "1.50 to 2.50 arcsec, uniform",
        "8.0 to 50.0, log-uniform",
        "residual_radial_profile",
        "unpaired: other hosts",
        f"{lens.sum()} lenses, {(~lens).sum()} non-lenses, 70 bricks; 400 pairs in the split",
        f"{share:.0f} %: ring 11 % (40)",
        f"AUROC, look-alikes alone {(gap > 0).mean():.3f}",
    ):
        assert words in complete.text, words


def test_every_gate_is_shown_with_all_it_says(complete, complete_run):
    gates = json.loads((complete_run / "gates.json").read_text())["gates"]
    for name, gate in gates.items():
        row = complete.text[complete.text.rindex(f" {name} ") :]
        assert gate["verdict"] in row
        if gate["ci"]:
            assert f"{gate['ci'][0]:.3f} to {gate['ci'][1]:.3f}" in row
    assert "1,043 / 1,307" in complete.text
    assert "tautology" in complete.text


def test_training_checks_and_provenance_are_shown(complete):
    for words in (
        "is outside the range expected at epoch 3",
        "no brick is shared; 0.80/0.10/0.10",
        "and 3 more in phase0_summary.json",
        "NOT PROVEN",
        "7a283fa0c1",
        "+ changed line",
        '"epochs": 12',
        "4f" * 32,
    ):
        assert words in complete.text, words
    assert "could not be built" not in complete.text
    assert "What is missing" not in complete.text


def test_figures_are_embedded_and_saved_for_a_paper(complete, complete_run):
    saved = {path.name for path in (complete_run / "figures").iterdir()}
    assert saved == {f"{name}.{kind}" for name in album.NAMES for kind in ("png", "pdf")}
    images = complete.all("img")
    assert len(images) == len(album.CURVES) + (2 * 4 + 4 * saliency.EACH) * len(album.GROUPS)
    assert all(image["alt"] for image in images)
    roc = next(image for image in images if (image["alt"] or "").startswith("ROC curves."))
    assert roc["src"] == album.image((complete_run / "figures/roc.png").read_bytes(), "")[10:-9]


def test_core_reliance_is_told_beside_what_geometry_predicts(complete, copied, undrawn):
    """The matched filter by default; the gates' own curve where they stored one."""
    with np.load(copied / "eval" / "test.npz") as arrays:
        rows = {name: arrays[name][arrays["in_manifest"]] for name in arrays.files}
    areas = measures.reliance(rows["label"], rows["logit_core_masked"])
    assert f"AUROC(0) - AUROC(7) = {areas[0] - areas[3]:.3f}" in complete.text
    assert "a matched filter that uses the arc outside the mask alone" in complete.text
    gates = json.loads((copied / "gates.json").read_text())["gates"]
    gates["core_reliance"]["detail"] = {"expected": [0.93, 0.93, 0.92, 0.81, 0.7, 0.5]}
    change(copied / "gates.json", gates=gates)
    text = read_page(write_report(copied).parent).text
    assert "geometry alone: 0.120. Dashed: what geometry alone predicts, as the gates" in text


def test_without_a_finite_arc_geometry_predicts_nothing_and_with_one_what_the_gates_predict(
    complete_run,
):
    run = read_run(complete_run)
    rows = measures.judged(run.test)
    unknown = {**rows, "arc_snr_outside": np.full_like(rows["arc_snr_outside"], np.nan)}
    assert np.isnan(drawn.expected_curve(run, unknown, 0.9)[0]).all()
    lenses = rows["arc_snr_outside"][rows["label"] == 1].astype(np.float64)
    found = drawn.expected_curve(run, rows, 0.9)[0]
    np.testing.assert_array_equal(found, core.expected_curve(lenses, 0.9))


def test_thresholds_show_the_side_on_which_a_gate_passes(complete):
    for words in ("> 0.850", "< 0.650", "< 0.100"):
        assert words in complete.text
    assert words_module.threshold("unheard_of", 0.5) == "0.500"
    assert words_module.threshold("auroc_test", None) == "–"


def test_mistakes_come_first_and_the_worst_first(complete):
    order = [complete.text.rindex(title) for title in ("Missed lenses", "Most confident lenses")]
    assert order == sorted(order)
    block = complete.text[order[0] : complete.text.rindex("False alarms")]
    logits = [float(word) for word in re.findall(r"logit (-?[\d.]+)", block)]
    assert len(logits) == 4
    assert logits == sorted(logits)


def test_the_page_stands_alone(complete, complete_run):
    source = (complete_run / "report.html").read_text(encoding="utf-8")
    assert "http://" not in source
    assert "https://" not in source
    assert len(source) < 5e6
    names = {name for name, _ in complete.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in complete.tags:
        assert (attributes.get("src") or "data:").startswith("data:image/png;base64,"[:5])
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in source
    assert "@import" not in source
    policy = next(meta for meta in complete.all("meta") if "http-equiv" in meta)
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_whole_page_stays_small(complete_run):
    """Also with all the examples that a run may have: their pictures are noise, and do not pack."""
    source = (complete_run / "report.html").read_text(encoding="utf-8")
    noise = np.random.default_rng(0).random(schema.STAMP_SHAPE)
    largest = len(album.image(sheets.png(noise), "x" * 300))
    drawn_examples = 4  # of a group, in the synthetic run
    more = 2 * (drawn.SHOWN - drawn_examples) * len(album.GROUPS) * largest
    assert len(source) + more < 5e6


def test_links_of_the_page_lead_somewhere(complete):
    anchors = {attributes["id"] for _, attributes in complete.tags if "id" in attributes}
    assert {(link["href"] or "")[1:] for link in complete.all("a")} <= anchors


def test_the_same_files_give_the_same_page(copied, undrawn):
    first = write_report(copied).read_bytes()
    assert write_report(copied).read_bytes() == first


def make_hostile(workdir: Path) -> None:
    """Hostile text wherever a run directory may hold text."""
    check = {"verdict": "FAIL", "required": True, "message": HOSTILE}
    finding = {"severity": HOSTILE, "where": HOSTILE, "message": HOSTILE}
    gate = {"verdict": HOSTILE, "required": True, "reason": HOSTILE, "value": HOSTILE, "ci": "x"}
    change(
        workdir / "phase0_summary.json",
        all_passed=False,
        checks={HOSTILE: check | {"findings": [finding]}},
    )
    change(workdir / "gates.json", reason=HOSTILE, gates={HOSTILE: gate}, arrays_digest=HOSTILE)
    change(workdir / "config.json", experiment=HOSTILE, extra={HOSTILE: HOSTILE})
    change(workdir / "provenance.json", **{HOSTILE: HOSTILE, "diff": f"{HOSTILE}\n" * 9})
    change(
        workdir / "eval" / "manifest.json",
        evidence=False,
        evidence_reason=HOSTILE,
        mode=HOSTILE,
        preprocessing=HOSTILE,
        data_digest=HOSTILE,
    )
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 13, "flags": [HOSTILE, {"cause": HOSTILE}]}) + "\n")
    path = workdir / "eval" / "examples.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["stamp_id"][:] = HOSTILE
    arrays["negative_kind"] = np.full(len(arrays["label"]), HOSTILE)
    np.savez(path, **arrays)


def test_hostile_text_stays_text(copied, undrawn):
    make_hostile(copied)
    hostile_name = copied.rename(copied.with_name("<img src=x onerror=y>"))
    write_report(hostile_name)
    source = (hostile_name / "report.html").read_text(encoding="utf-8")
    outline = Outline(source)
    assert "<script" not in source
    assert not [image for image in outline.all("img") if "onerror" in image]
    assert not set(source) & {"\x1b", "\u202e", "\0"}
    shown = HOSTILE.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
    assert html.unescape(source).count(shown) > 15
    assert "could not be built" not in source


def test_hostile_text_runs_without_the_guard(copied, undrawn, monkeypatch):
    monkeypatch.setattr(markup.html, "escape", lambda value, quote: value)
    make_hostile(copied)
    assert "<script>alert" in write_report(copied).read_text(encoding="utf-8")


def test_lone_surrogates_of_json_can_be_written(copied, undrawn):
    path = copied / "gates.json"
    path.write_text(path.read_text().replace("core_lr_auc inconclusive", r"\ud800"))
    assert r"\ud800" in write_report(copied).read_text(encoding="utf-8")


def test_a_run_refused_by_phase0_says_why(complete_run, tmp_path):
    checks = {
        "stamps": {
            "verdict": "FAIL",
            "required": True,
            "message": "1 stamp is not finite",
            "findings": [{"severity": "ERROR", "where": "a.parquet row 3", "message": "NaN in z"}],
        },
        "pairs": {"verdict": "PASS", "required": True, "message": ""},
    }
    summary = {"all_passed": False, "exit_code": 10, "checks": checks}
    (tmp_path / "phase0_summary.json").write_text(json.dumps(summary))
    gates = {"verdict": "RED", "reason": "phase0", "gates": {}, "failed_checks": ["stamps"]}
    (tmp_path / "gates.json").write_text(json.dumps(gates))
    text = read_page(write_report(tmp_path).parent).text
    assert "RED: data refused" in text
    assert "data check stamps: FAIL. 1 stamp is not finite First: a.parquet row 3: NaN" in text
    assert "data check pairs" not in text
    assert text.rindex("Data checks (phase 0)") < text.rindex("No gate was judged")
    assert "raised no red flag" not in text
    assert "a.parquet row 3: NaN in z" in text
    assert "No gate was judged" in text
    assert "eval/test.npz" in text[text.index("What is missing") :]
    assert f"measures.json is not drawn: {reading.REFUSED}" in text
    assert f"eval/saliency.npz is not drawn: {reading.REFUSED}" in text
    assert "python -m lensjax.gates" not in text  # which would write nothing
    assert "could not be built" not in text


def test_an_empty_directory_gives_a_page_without_a_verdict(tmp_path):
    text = read_page(write_report(tmp_path).parent).text
    assert "NO VERDICT" in text
    assert "could not be built" not in text


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "provenance.json",
        "phase0_summary.json",
        "metrics.jsonl",
        "gates.json",
        "training_results.json",
        "eval/manifest.json",
        "eval/val.npz",
        "eval/test.npz",
        "eval/examples.npz",
        "measures.json",
        "eval/saliency.npz",
    ],
)
def test_any_one_file_may_be_missing(copied, undrawn, file):
    (copied / file).unlink()
    text = read_page(write_report(copied).parent).text
    assert file in text[text.rindex("What is missing") :]
    assert "could not be built" not in text


def test_figures_of_an_earlier_report_do_not_outlive_their_arrays(copied, undrawn):
    (copied / "eval" / "test.npz").unlink()
    (copied / "figures" / "mine.png").write_bytes(b"kept")
    write_report(copied)
    left = {path.stem for path in (copied / "figures").iterdir()}
    assert "roc" not in left
    assert "core_reliance" not in left
    assert {"training_loss", "mine"} <= left


def break_test_arrays(workdir: Path, monkeypatch) -> None:
    """An error that nobody foresaw, in one section."""
    monkeypatch.setattr(drawn.measures, "roc", lambda *_: 1 / 0)


def test_one_broken_section_leaves_the_others(copied, undrawn, monkeypatch):
    break_test_arrays(copied, monkeypatch)
    text = read_page(write_report(copied).parent).text
    assert "This part could not be built (Ranking and scores): ZeroDivisionError" in text
    assert "YELLOW: not proven" in text
    assert "Missed lenses" in text


def test_one_broken_section_costs_the_report_without_the_guard(copied, undrawn, monkeypatch):
    monkeypatch.setattr(page, "_or_note", lambda title, build: build())
    break_test_arrays(copied, monkeypatch)
    with pytest.raises(ZeroDivisionError):
        write_report(copied)


def test_endless_warnings_and_findings_do_not_swell_the_page(copied, undrawn):
    with (copied / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 12, "flags": ["x" * 1000] * 5000}) + "\n")
    change(
        copied / "phase0_summary.json",
        checks={"stamps": {"message": "y" * 10**6, "findings": [{"message": "z" * 10**5}] * 500}},
    )
    source = write_report(copied).read_text(encoding="utf-8")
    assert len(source) < 5e6
    assert "4,801 more in metrics.jsonl" in source
    assert "488 more in phase0_summary.json" in source


def test_odd_values_do_not_break_a_table(copied, undrawn):
    change(copied / "gates.json", verdict=7, reason=["a", None], gates=[1, 2])
    change(copied / "phase0_summary.json", checks={"stamps": {"findings": "x"}, "pairs": 3})
    change(copied / "eval" / "manifest.json", population="wide", mode=None)
    change(copied / "training_results.json", best_epoch="ten", verdict="GREEN")
    text = read_page(write_report(copied).parent).text
    assert "NO VERDICT" in text
    assert "could not be built" not in text


@pytest.mark.parametrize("classes", [(1,), (0,), ()])
def test_one_class_or_no_row_gives_words_instead_of_curves(copied, undrawn, classes):
    path = copied / "eval" / "test.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["in_manifest"] &= np.isin(arrays["label"], classes)
    np.savez(path, **arrays)
    text = read_page(write_report(copied).parent).text
    assert "there is no core reliance curve" in text
    assert "could not be built" not in text
    assert not (copied / "figures" / "roc.png").exists()


def test_scores_that_are_not_finite_are_counted(copied, undrawn):
    path = copied / "eval" / "test.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["logit"][np.flatnonzero(arrays["in_manifest"])[:3]] = math.nan
    np.savez(path, **arrays)
    text = read_page(write_report(copied).parent).text
    assert "3 test rows without a finite score are left out" in text


@pytest.mark.parametrize(
    ("verdict", "words"), [("GREEN", "✓ GREEN: passed"), ("RED", "✕ RED: failed")]
)
def test_verdicts_have_words_and_marks_beside_the_colour(tmp_path, verdict, words):
    run = dataclasses.replace(read_run(tmp_path), gates={"verdict": verdict})
    assert words in Outline(verdict_banner(run)).text


def test_tags_escape_children_and_attributes():
    assert tag("p", "1 < 2 ", tag("b", "&"), class_='a"b') == (
        '<p class="a&quot;b">1 &lt; 2 <b>&amp;</b></p>'
    )


def test_an_interrupted_writing_leaves_the_old_page(copied, undrawn, monkeypatch):
    old = (copied / "report.html").read_bytes()

    def full_disk(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_report(copied)
    assert (copied / "report.html").read_bytes() == old


def test_the_command_writes_the_page_and_prints_where(tmp_path, capsys):
    assert command.main([f"--workdir={tmp_path}"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert (tmp_path / "report.html").is_file()


def test_the_command_names_a_wrong_directory(tmp_path, capsys):
    assert command.main([f"--workdir={tmp_path / 'nowhere'}"]) == 2
    assert "no such run directory" in capsys.readouterr().err


def test_the_command_ends_in_one_line_whatever_happens(tmp_path, capsys, monkeypatch):
    def broken(workdir):
        raise ZeroDivisionError("on purpose")

    assert command.main(["--wrkdir=x"]) == 2
    line = capsys.readouterr().err.strip()
    assert "--workdir" in line and "\n" not in line
    assert command.main([f"--workdir={tmp_path / 'nowhere'}", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setattr(command, "write_report", broken)
    assert command.main([f"--workdir={tmp_path}"]) == 1
    line = capsys.readouterr().err.strip()
    assert "ZeroDivisionError: on purpose" in line and "\n" not in line


def test_the_report_needs_no_pyplot_and_no_jax():
    script = (
        "import sys, lensjax.report; "
        "print(*{'jax', 'flax', 'tensorflow', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == ""


def test_a_bar_over_the_sections_knows_how_many_there_are(copied, undrawn):
    advanced = []
    write_report(copied, lambda: advanced.append(1))
    assert len(advanced) == page.SECTIONS
