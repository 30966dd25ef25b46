"""The pages name only what exists, and say of it what the code says.

Every check is a function of text that returns what is wrong, and is shown a made-up mistake too.
"""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest

from lensjax import configuration, schema
from lensjax.checks.result import CHECKS
from lensjax.gates import arrays, protocol
from lensjax.runs.workdir import Workdir

ROOT = configuration.ROOT
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
PAGES += sorted((ROOT / "docs").glob("*.md"))
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PAGES}
PROTOCOL = json.loads((ROOT / "configs/protocols/default.json").read_text())
LESSONS = (
    *("L1.1", "L1.2", "L1.3", "L1.4", "L1.5", "L1.6", "L1.7", "L2.1", "L4.3", "L4.4", "L4.5"),
    *("L4.6", "L5.1", "L5.2", "L5.3", "L5.4", "L5.5", "L6.1", "L6.2", "L6.3", "L7.1", "L7.2"),
    *("L7.3", "L8.1", "L8.2", "L8.3", "L8.4", "L9.1", "L21", "L22", "L1119-1185"),
)
every_page = pytest.mark.parametrize("page", TEXTS)


def page(name: str) -> str:
    return TEXTS[f"docs/{name}.md"]


def table(text: str, header: str) -> list[list[str]]:
    """The cells of the rows of the first table whose head begins with `header`."""
    lines = iter(text[text.index(f"| {header}") :].splitlines())
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return found[2:]


def names(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# -- paths, functions, tests, links ------------------------------------------------------------

PATH = re.compile(
    r"(?<![\w./~-])((?:lensjax|configs|phase0|tests|docs|benchmarks|\.ci)/[\w./*-]*[\w*]"
    r"|(?:main\.py|pyproject\.toml|requirements[\w.-]*\.txt))(?:(::?)(\w+(?:\.\w+)*))?"
)
VARIANTS = {"full", "demo", "tiny"}


def defined(path: Path) -> set[str]:
    """Functions, classes, methods (Class.method) and constants at the top of a module."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            found |= {f"{node.name}.{method.name}" for method in methods}
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, ast.AnnAssign) else []
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def unknown_places(text: str) -> list[str]:
    """Every path, path:function and path::test in `text` that does not exist."""
    return [match.group() for match in PATH.finditer(text) if not is_there(*match.groups())]


def is_there(name: str, colons: str | None, inside: str | None) -> bool:
    """Is there such a file, and such a name (or variant of a config) inside it?"""
    path = ROOT / name
    if not inside or not path.exists():
        return path.exists()
    if colons == ":" and inside in VARIANTS and name.startswith("configs/"):
        return True
    return path.suffix == ".py" and inside in defined(path)


@every_page
def test_every_path_function_and_test_exists(page):
    assert unknown_places(TEXTS[page]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "lensjax/gates/coer.py",
        "lensjax/gates/core.py:core_masked_dorp",
        "lensjax/runs/checkpoints.py:Checkpoints.lastest",
        "tests/data/test_order.py::test_that_is_not_there",
        "configs/b33.py:demo",
        "requirements.lok.txt",
    ],
)
def test_a_made_up_place_is_caught(wrong):
    assert unknown_places(f"see `{wrong}`, and `lensjax/schema.py:ExitCode`") == [wrong]


def lesson_faults(text: str) -> list[str]:
    """Lessons that are absent, or that name no code or no test."""
    rows = {row[0]: row for row in table(text, "id |")}
    wrong = [name for name in LESSONS if name not in rows]
    for name, row in rows.items():
        code = [m for m in PATH.finditer(row[2]) if (ROOT / m.group(1)).exists()]
        tests = [m for m in PATH.finditer(row[3]) if m.group(2) == "::"]
        if name not in LESSONS or not code or not tests:
            wrong.append(name)
    return wrong


def test_every_lesson_has_code_and_a_test():
    text = page("lessons")
    assert lesson_faults(text) == []
    assert lesson_faults(text.replace("| L21 |", "| L23 |")) == ["L21", "L23"]
    assert lesson_faults(re.sub(r"(?m)^(\| L22 .*\|)[^|]*\|$", r"\1 none |", text)) == ["L22"]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(text: str, folder: Path) -> list[str]:
    """Relative links of a page in `folder` that lead nowhere."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = folder / name if name else None
        there = path is None or path.exists()
        if there and anchor:
            there = anchor in anchors(path.read_text() if path else text)
        if not there:
            wrong.append(target)
    return wrong


@every_page
def test_every_link_leads_somewhere(page):
    assert broken_links(TEXTS[page], (ROOT / page).parent) == []


def test_a_broken_link_is_caught():
    text = "# Head line\n[a](README.md) [b](REEDME.md) [c](#head-line) [d](#tail) [e](README.md#x)"
    assert broken_links(text, ROOT) == ["REEDME.md", "#tail", "README.md#x"]


def test_every_page_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\((docs/\w+\.md)", TEXTS["README.md"]))
    assert linked == {name for name in TEXTS if name.startswith("docs/")}


# -- commands ---------------------------------------------------------------------------------

OTHERS_FLAGS = {"--help", "--dry-run"}  # of pip, pytest and ruff, where a page names them


def known_flags() -> set[str]:
    """Every long flag that a command of lensjax takes."""
    folders = (ROOT / name for name in ("lensjax", "benchmarks"))
    sources = [ROOT / "main.py", *(path for folder in folders for path in folder.rglob("*.py"))]
    text = "".join(path.read_text() for path in sources)
    return set(re.findall(r"add_argument\(\s*\"(--[\w-]+)\"", text)) | OTHERS_FLAGS


def unknown_commands(text: str) -> list[str]:
    """Flags that no command has, and modules that cannot be run."""
    text = re.sub(r"ruff [^&`]*|pip install [^&`]*|#SBATCH [^\n]*", "", text)
    flags = re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", text)
    wrong = [flag for flag in flags if flag not in known_flags()]
    for module in re.findall(r"python -m (lensjax[\w.]*)", text):
        if not (ROOT / module.rstrip(".").replace(".", "/") / "__main__.py").is_file():
            wrong.append(module)
    return wrong


@every_page
def test_every_flag_and_module_is_one_of_ours(page):
    assert unknown_commands(TEXTS[page]) == []


def test_a_made_up_command_is_caught():
    text = "`python main.py --frehs`, `python -m lensjax.gaets --workdir=DIR`"
    assert unknown_commands(text) == ["--frehs", "lensjax.gaets"]


FIELDS = configuration.fields(configuration.load_config("configs/b3.py"))


def unknown_fields(text: str) -> list[str]:
    """`--config.X` that no config has."""
    return [
        name for name in re.findall(r"--config\.([a-z_0-9.]*[a-z_0-9])", text) if name not in FIELDS
    ]


@every_page
def test_config_fields_exist(page):
    assert unknown_fields(TEXTS[page]) == []
    assert unknown_fields("--config.epohcs=3 --config.epochs=3") == ["epohcs"]


def test_every_config_field_is_described():
    told = [name for row in table(page("formats"), "field |") for name in names(row[0])]
    assert sorted(told) == sorted(FIELDS)


def test_every_experiment_is_in_the_readme():
    told = {names(row[0])[0] for row in table(TEXTS["README.md"], "config | classes")}
    assert told == {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "configs").glob("*.py")
        if path.name not in ("common.py", "__init__.py")
    }
    scripts = {path.name for path in (ROOT / "phase0").glob("*.py")}
    assert {name for name in scripts if f"`{name}`" not in TEXTS["README.md"]} == set()


# -- numbers ----------------------------------------------------------------------------------


def gate_faults(text: str, document: dict) -> list[str]:
    """Gates whose row differs from the protocol's, or that have none."""
    rows = {names(row[0])[0]: row[1:] for row in table(text, "gate | role")}
    wrong = [name for name in rows if name not in document["gates"]]
    for name, rule in document["gates"].items():
        least = {**document["minimum"], **rule.get("minimum", {})}
        threshold, warn = rule["threshold"], rule["warn"]
        expected = [
            "required" if rule["required"] else "reported",
            "printed only" if threshold is None else f"{rule['direction']} {threshold:g}",
            "none" if warn is None else f"{warn:g}",
            " / ".join(str(least[key]) for key in ("n_pos", "n_neg", "n_bricks")),
        ]
        if rows.get(name) != expected:
            wrong.append(name)
    return wrong


def test_thresholds_are_the_protocols():
    text = page("exit_criteria")
    assert gate_faults(text, PROTOCOL) == []
    assert gate_faults(text.replace("| < 0.65 | 0.6 |", "| < 0.7 | 0.6 |", 1), PROTOCOL) == [
        "core_lr_auc"
    ]
    asked = {names(row[0])[0] for row in table(text, "gate | what it asks")}
    assert asked == set(PROTOCOL["gates"]) == set(protocol.GATES)


def limit_faults(text: str, phase0: dict) -> list[str]:
    """Limits of phase 0 that the page states otherwise, or not: 'NUMBER ... (`name`)'."""
    numbers = {**phase0["limits"], **phase0["minimum"]}
    kinds = ", ".join(f"{kind} {n}" for kind, n in numbers.pop("contaminants").items())
    wrong = [] if f"{kinds} (`contaminants`)" in text else ["contaminants"]
    for name, value in numbers.items():
        told = re.search(rf"(\d[\d.]*)[^\d`|]*\(`{name}`", text)
        if isinstance(value, bool):
            if f"(`{name}`)" not in text:
                wrong.append(name)
        elif told is None or float(told.group(1)) != value:
            wrong.append(name)
    return wrong


def test_limits_of_phase_0_are_the_protocols():
    text, phase0 = page("exit_criteria"), PROTOCOL["phase0"]
    assert limit_faults(text, phase0) == []
    assert limit_faults(text.replace("24 arcsec", "42 arcsec"), phase0) == [
        "host_separation_arcsec"
    ]
    rows = {names(row[0])[0]: row[1] for row in table(text, "check | required")}
    assert set(rows) == set(CHECKS)
    assert {name for name, told in rows.items() if told == "yes"} == set(phase0["required"])


def test_how_intervals_and_probes_are_made_is_the_protocols():
    text, probes, intervals = page("exit_criteria"), PROTOCOL["probes"], PROTOCOL["intervals"]
    for told in (
        f"{intervals['resamples']:,} resamples, seed {intervals['seed']}",
        f"{100 * intervals['confidence']:g} %",
        f"clipped at {probes['feature_clip']:g} standard",
        f"({probes['permutations']} label",
        "bins " + ", ".join(f"{edge:g}" for edge in PROTOCOL["theta_e_bins"]) + " arcsec",
        "r = " + ", ".join(map(str, schema.MASK_RADII)) + " px",
    ):
        assert told in text, told
    assert (min(probes["c_grid"]), max(probes["c_grid"]), probes["folds"]) == (1e-4, 10.0, 5)
    assert "from 1e-4 to 10 by five folds" in text


def test_expected_ranges_are_the_schemas():
    text = " ".join(page("exit_criteria").split())
    loss = ", ".join(f"{low}-{high}" for low, high in schema.EXPECTED_TRAIN_LOSS.values())
    auroc = ", ".join(f"{low:.2f}-{high:.2f}" for low, high in schema.EXPECTED_VAL_AUROC.values())
    epochs = ", ".join(map(str, schema.EXPECTED_TRAIN_LOSS))
    assert f"loss at epoch {epochs} within {loss}; validation AUROC within {auroc}" in text


def code_faults(text: str) -> list[str]:
    """Exit codes that the README's table lacks, names otherwise, or makes up."""
    told = {(row[0], row[1]) for row in table(text, "code | name")}
    true = {(str(int(code)), code.name) for code in schema.ExitCode}
    return sorted(f"{code} {name}" for code, name in told ^ true)


def test_exit_codes_are_the_schemas():
    text = TEXTS["README.md"]
    assert code_faults(text) == []
    assert code_faults(text.replace("| 14 | NO_CHECKPOINT", "| 41 | NO_CHECKPOINT")) == [
        "14 NO_CHECKPOINT",
        "41 NO_CHECKPOINT",
    ]
    told = {row[0] for row in table(page("guide"), "exit |")} - {"other"}
    assert told == {str(int(code)) for code in schema.ExitCode} - {"0"}


# -- formats ----------------------------------------------------------------------------------


def column_faults(text: str) -> list[str]:
    """Columns of the schema that the table lacks or gives another dtype, and made-up ones."""
    rows = table(text, "column | dtype")
    told = {name: row[1] for row in rows for name in names(row[0])}
    wrong = set(told.items()) ^ set(schema.TABLE_COLUMNS.items())
    return sorted({name for name, _ in wrong})


def test_every_column_is_described():
    text = page("formats")
    assert column_faults(text) == []
    assert column_faults(text.replace("| `ebv` | f4 |", "| `evb` | f4 |")) == ["ebv", "evb"]


def written(*functions: str) -> set[str]:
    """Names of the arrays that these functions of evaluation put into what they return."""
    tree = ast.parse((ROOT / "lensjax/training/evaluate.py").read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            for part in ast.walk(node):
                keys = part.keys if isinstance(part, ast.Dict) else []
                if isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store):
                    keys = [part.slice]
                if isinstance(part, ast.BinOp) and isinstance(part.right, ast.Call):
                    keys = [ast.Constant(keyword.arg) for keyword in part.right.keywords]
                found |= {key.value for key in keys if isinstance(key, ast.Constant)}
    return {name for name in found if isinstance(name, str)}


def test_every_evaluation_array_is_described():
    rows = table(page("formats"), "array | dtype | shape | unit")
    told = {name: row[2] for row in rows for name in names(row[0])}
    made = written("evaluate_split", "_pair_arrays", "_feature_arrays")
    assert {"logit", "core_box", "arc_snr_outside"} <= made
    assert set(told) == made | set(schema.EVAL_TABLE_COLUMNS)
    known = {**arrays.REQUIRED, **arrays.OPTIONAL}
    assert set(told) == set(known)
    shapes = {name: [int(n) for n in re.findall(r"\d+", shape)] for name, shape in told.items()}
    assert shapes == {name: list(shape) for name, (_, shape) in known.items()}


def test_every_example_array_is_described():
    text = page("formats")
    told = {
        n for row in table(text[text.index("### Examples") :], "array |") for n in names(row[0])
    }
    columns = ("stamp_id", "label", "logit", "theta_e_arcsec", "arc_snr", "negative_kind")
    assert told == written("examples") | set(columns)


def test_every_file_of_a_run_is_described():
    told = {name for row in table(page("formats"), "file | written") for name in names(row[0])}
    workdir = Workdir(Path("w"))
    properties = [name for name, kind in vars(Workdir).items() if isinstance(kind, property)]
    files = {str(getattr(workdir, name).relative_to("w")) for name in properties}
    assert {name for name in files - {"eval"} if not {name, f"{name}/"} & told} == set()


def test_every_gate_has_its_detail_described():
    rows = table(page("formats"), "gate | `detail`")
    assert {name for row in rows for name in names(row[0])} == set(protocol.GATES)


def test_every_key_of_a_protocol_is_described():
    text = page("formats")
    rows = table(text[text.index("## Protocol files") :], "key |")
    told = {name for row in rows for cell in row for name in names(cell)}
    keys = {key for key in PROTOCOL if key != "gates"}
    for part in ("intervals", "minimum", "probes", "rates", "phase0"):
        keys |= set(PROTOCOL[part])
    keys |= set(PROTOCOL["phase0"]["limits"]) | set(PROTOCOL["phase0"]["minimum"])
    assert keys <= told


def test_every_metric_is_described():
    told = {name for row in table(page("formats"), "key | meaning") for name in names(row[0])}
    source = (ROOT / "lensjax/training/loop.py").read_text()
    record = source[source.index("record = {") : source.index("_say(record")]
    assert told == set(re.findall(r"\"(\w+)\": ", record)) | {"flags"}


def importers(package: str, root: Path) -> set[str]:
    """Files of `root`/lensjax that import `package` or a part of it."""
    found = set()
    for path in sorted((root / "lensjax").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            if package in {module.split(".", 1)[0] for module in modules}:
                found.add(path.relative_to(root).as_posix())
    return found


def test_flax_is_the_model_s_alone(tmp_path):
    """docs/decisions.md says so; import-linter, which the tests do not need, holds it too."""
    assert importers("flax", ROOT) == {"lensjax/training/model.py"}
    shutil.copytree(ROOT / "lensjax", tmp_path / "lensjax")
    words = tmp_path / "lensjax/report/words.py"
    words.write_text(words.read_text() + "\nfrom flax import linen\n")
    assert "lensjax/report/words.py" in importers("flax", tmp_path)


def test_the_tests_import_nothing_that_only_the_checks_install():
    """README's second line installs requirements.txt and no more."""
    dev = (ROOT / "requirements-dev.txt").read_text()
    extra = {re.split(r"[<>=]", line)[0].strip() for line in dev.splitlines()[2:]}
    assert extra == {"ruff", "pyright", "import-linter"}
    tools = {name.replace("-", "").lower() for name in extra}
    texts = {path: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    using = {
        path.name for path, text in texts.items() for tool in tools if imports_tool(text, tool)
    }
    assert using == set()
    assert imports_tool("from " + "importlinter.cli import x", "importlinter")
    assert imports_tool("run = 'import sys; from " + "importlinter.cli import x'", "importlinter")


def imports_tool(text: str, tool: str) -> bool:
    """Also within a script that a test hands to another process."""
    return re.search(rf"\b(import|from) {tool}\b", text) is not None
