"""`python -m lensjax.gates compare`: the same bytes every time, the same cells in every form, and
names that are only names."""

import csv
import html as escapes
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lensjax.gates import __main__ as command
from lensjax.gates import compare_runs, compare_table, examine
from lensjax.gates.compare import compare
from lensjax.gates.compare_csv import COLUMNS, csv_text, flattened
from lensjax.gates.compare_heads import OUTPUTS, Told
from lensjax.gates.compare_runs import read_runs
from lensjax.gates.compare_table import html, markdown, tables
from lensjax.gates.measures import examine_case
from lensjax.gates.protocol import Protocol
from lensjax.schema import printable
from tests.gates.compared import judge_auroc_alone, make_run, quick
from tests.gates.synthetic import edit_json, write_json

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("jax", "flax", "optax", "orbax", "tensorflow", "matplotlib", "ml_collections")
HOSTILE = "=1+1|<img src=x onerror=alert(1)>*_`[x](http://y)\x1b[2J"


@pytest.fixture(scope="module")
def rules(default: Protocol) -> Protocol:
    return quick(default)


@pytest.fixture(scope="module", autouse=True)
def quick_judge() -> Iterator[None]:
    """The judging itself replaced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_runs, "examine_case", judge_auroc_alone)
        yield


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, rules: Protocol) -> list[Path]:
    """Two runs, one of them of an experiment with a hostile name. Read them, do not change them."""
    folder = tmp_path_factory.mktemp("pair")
    runs = [make_run(folder / "a1", rules, seed=0), make_run(folder / "b1", rules, noise=1.0)]
    edit_json(runs[1] / "provenance.json", lambda r: r["config"].update(experiment=HOSTILE))
    return runs


@pytest.fixture(scope="module")
def document(pair: list[Path]) -> dict:
    return compare(read_runs(pair, Told()))


def test_another_process_writes_the_same_bytes_and_needs_no_jax(
    pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Verdicts and all, with another number of threads."""
    script = (
        "import sys; from lensjax.gates.__main__ import main; code = main(sys.argv[1:]); "
        f"print(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    runs, out = [str(run) for run in pair], tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", script, "compare", *runs, f"--out={out}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert sorted(os.listdir(out)) == sorted(OUTPUTS)
    assert done.stdout.encode() == (out / "comparison.md").read_bytes()
    monkeypatch.setattr(compare_runs, "examine_case", examine_case)
    own = tmp_path / "own"
    assert command.main(["compare", *runs, f"--out={own}"]) == 0
    for name in OUTPUTS:
        assert (out / name).read_bytes() == (own / name).read_bytes()
        assert str(tmp_path).encode() not in (own / name).read_bytes()


def cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table, as they are shown."""
    parts = re.split(r"(?<!\\)\|", line)[1:-1]
    return [re.sub(r"\\(.)", r"\1", part.strip()) for part in parts]


def test_every_form_has_the_same_cells(document: dict) -> None:
    own = [[list(table.columns), *map(list, table.rows)] for table in tables(document)]
    assert len(own) == 3 + 1 + 2 * 2 and sum(map(len, own)) > 150
    lines, text = markdown(document).splitlines(), html(document)
    found, last = [], ""
    for line in lines:
        if line.startswith("| "):
            if not last.startswith("|"):
                found.append([])
            found[-1].append(cells(line))
        last = line
    printed = [[[printable(cell) for cell in row] for row in table] for table in own]
    assert found == printed
    rows = [
        [
            [escapes.unescape(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
            for row in re.findall(r"<tr>(.*?)</tr>", table)
        ]
        for table in re.findall(r"<table>(.*?)</table>", text, re.S)
    ]
    assert rows == printed


def test_the_csv_has_the_numbers_behind_the_cells(document: dict) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(document))))
    assert tuple(rows[0]) == COLUMNS
    kinds = {row["kind"] for row in rows}
    assert kinds == {"verdict", "judged", "run", "experiment", "difference"}
    text = markdown(document)
    for row in rows:
        if row["kind"] == "difference" and row["value"] not in ("", "0.0"):
            low, high = float(row["low_bricks"]), float(row["high_bricks"])
            cell = f"{float(row['value']):+.3f} [{low:+.3f}, {high:+.3f}] no claim"
            assert cell in text, row
        if row["kind"] == "run" and row["value"]:
            low, high = float(row["low"]), float(row["high"])
            assert f"{float(row['value']):.3f} [{low:.3f}, {high:.3f}]" in text, row
    auroc = next(
        row for row in rows if row["kind"] == "judged" and row["measure"] == "gates.auroc_test"
    )
    entry = document["experiments"][0]["runs"][0]["judged"]["gates"]["auroc_test"]
    assert float(auroc["value"]) == entry["value"] and auroc["verdict"] == entry["verdict"]


def test_every_judged_number_with_an_interval_is_in_the_csv(
    pair: list[Path], rules: Protocol
) -> None:
    """Whatever gates.json has beside the gates, by its path."""
    judged = examine(pair[0], rules)
    found = dict(flattened(judged))
    assert found["gates.auroc_test"] == judged["gates"]["auroc_test"]
    assert "gates.auroc_test.detail.tpr_at_fpr[fpr=0.01]" in found
    assert "gates.core_lr_auc.detail.null" in found
    assert "measures.ranking.recall_at[k=50]" in found
    assert "measures.calibration.maps.none.brier" in found
    count = json.dumps(judged).count('"ci": ')
    assert len(found) == len(list(flattened(judged))) == count


def test_a_name_from_a_file_is_text_everywhere(document: dict) -> None:
    page, text = html(document), markdown(document)
    assert "<img" not in page and "onerror=alert(1)&gt;" in page and "\x1b" not in page + text
    assert "http" not in page.replace(escapes.escape(HOSTILE[:-4], quote=True), "")
    assert not re.search(r"(?<!\\)<img", text) and not re.search(r"(?<!\\)\]\(", text)
    assert all(len(cells(line)) == len(cells(lines[0])) for lines in blocks(text) for line in lines)
    rows = csv.DictReader(io.StringIO(csv_text(document)))
    names = {row["experiment"] for row in rows}
    assert {name[0] for name in names if "img" in name} == {"'"}


def blocks(text: str) -> list[list[str]]:
    """The tables of a Markdown page, without the rules below their heads."""
    parts = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    return [[line for line in part if not line.startswith("|-")] for part in parts]


def test_without_the_escape_the_name_is_markup(document: dict, monkeypatch) -> None:
    monkeypatch.setattr(compare_table, "_text", str)
    assert "<img src=x" in html(document)
    monkeypatch.setattr(compare_table, "_plain", str)
    found = blocks(markdown(document))
    assert any(len(cells(line)) != len(cells(part[0])) for part in found for line in part)


def called(capsys, *argv: str) -> tuple[int, str, str]:
    code = command.main(["compare", *argv])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "required: DIR"),
        (["x", "--reference"], "expected one argument"),
        (["x", "--other-dta"], "unknown flag --other-dta. Did you mean --other-data?"),
        (["x", "--json", "--json"], "--json is given twice"),
        (["x", "--protocol=none.json"], "none.json: cannot be read"),
        (["x"], "x: no such run directory"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(capsys, argv: list[str], told: str) -> None:
    code, out, err = called(capsys, *argv)
    assert (code, out) == (2, "") and told in err and err.count("\n") == 1


def test_a_reference_is_named_by_experiment_or_run(pair, capsys) -> None:
    runs = [str(run) for run in pair]
    code, out, _ = called(capsys, *runs, "--reference=b1", "--json")
    assert code == 0 and json.loads(out)["differences"][0]["experiment"] == "a1"
    code, out, err = called(capsys, *runs, "--reference=a2")
    assert (code, out) == (2, "") and "'a2'" in err and "Did you mean a1?" in err


def test_another_protocol_has_to_be_allowed(pair, rules, tmp_path, capsys) -> None:
    write_json(tmp_path / "strict.json", {**rules.document, "name": "strict"})
    flags = [*(str(run) for run in pair), f"--protocol={tmp_path}/strict.json"]
    code, out, err = called(capsys, *flags)
    assert (code, out) == (12, "") and 'name: "strict" -> "quick"' in err
    code, out, _ = called(capsys, *flags, "--other-protocol")
    assert code == 0 and "seed 0 (other protocol)" in out and "Protocol strict" in out


def test_a_folder_that_cannot_be_written_is_exit_16(pair, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = called(capsys, *(str(run) for run in pair), f"--out={tmp_path}/file/x")
    assert (code, out) == (16, "") and "cannot be made" in err and err.count("\n") == 1
