"""S3 and S10: code of strangers, in the metadata of Parquet files, and through packages with known
holes; and that lensjax has no function that would run any."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.faults.cases import Case, assert_refused, parametrize
from tests.faults.hostile import CANARY, Canary
from tests.faults.roots import NAMED, ParquetRoot
from tests.faults.running import ROOT


def in_the_file(root: ParquetRoot) -> None:
    root.metadata[NAMED] = {b"pandas": pickle.dumps(Canary())}


def in_a_column(root: Path) -> None:
    """The extension type that pyarrow 14.0.0 unpickled when it opened a file."""
    table = pq.read_table(root / NAMED)
    pickled = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Canary()),
    }
    k = table.schema.get_field_index("brickname")
    changed = table.schema.set(k, table.schema.field(k).with_metadata(pickled))
    pq.write_table(table.cast(changed), root / NAMED)


def case(place: str, **plant) -> Case:
    return Case(17, rf"{NAMED}: metadata '\S+' of {place} is a pickle", "stamps", **plant)


METADATA = {
    "S3 file": case("the file", plant=in_the_file),
    "S3 column": case("column 'brickname'", damage=in_a_column),
}


@parametrize("proves", METADATA)
def test_a_pickle_in_parquet_metadata_is_refused(case, run, plant):
    assert_refused(case, run, plant(case))


@parametrize("harm", METADATA)
def test_who_loads_it_runs_its_code(case, run, plant):
    assert run.phase0(plant(case), off=["metadata"]).code == 0
    assert (run.here / CANARY).is_dir()


# -- the source of lensjax ------------------------------------------------------------------------

LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}  # modules
CALLS = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "torch.load", "pandas.read_pickle"}


def dangerous(source: str) -> Iterator[str]:
    """What in Python source may run the code of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(one.name for one in node.names)]
            yield from sorted(LOADERS & {name.split(".")[0] for name in names})
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
            yield ast.unparse(node.func)
        told = isinstance(node, ast.keyword) and node.arg == "allow_pickle"
        if told and ast.unparse(node.value) != "False":
            yield "allow_pickle"


@pytest.mark.proves("S3")
def test_nothing_in_lensjax_runs_the_code_of_a_file():
    folders = [ROOT / name for name in ("lensjax", "configs", "phase0")]
    sources = [ROOT / "main.py", *(path for folder in folders for path in folder.rglob("*.py"))]
    assert len(sources) > 100
    found = {str(path): list(dangerous(path.read_text())) for path in sources}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.harm("S3")
@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "import yaml; yaml.load(text)",
    ],
)
def test_what_would_run_it_is_seen(source):
    assert len(list(dangerous(source))) == 1


# -- S10 ------------------------------------------------------------------------------------------


@pytest.mark.proves("S10")
def test_a_package_with_a_known_hole_is_refused(run, plant):
    ended = run.phase0(plant(Case(0, "", "")), off=["new pyarrow"])
    assert ended.code == 12 and run.artefacts() == []
    assert "pyarrow: version 14.0.0 is refused, 26 or later is needed" in ended.error()
    assert ended.error().endswith("pip install 'pyarrow>=26'")


@pytest.mark.harm("S10")
def test_without_the_guard_it_would_read_the_data(run, plant):
    assert run.phase0(plant(Case(0, "", "")), off=["new pyarrow", "versions"]).code == 0


@pytest.fixture(scope="module")
def of_2023(tmp_path_factory) -> Path:
    """A folder with pyarrow 14.0.0, and a numpy that it works with."""
    folder = tmp_path_factory.mktemp("of-2023")
    packages = ["pyarrow==14.0.0", "numpy<2"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pyarrow 14.0.0 cannot be installed: {done.stderr.strip()[-200:]}")
    return folder


def with_old(folder: Path, here: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command for which the packages in `folder` come first."""
    path = {"PYTHONPATH": str(folder), "JAX_PLATFORMS": "cpu"}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | path
    return subprocess.run(
        [sys.executable, *command], cwd=here, env=environment, capture_output=True, text=True
    )


@pytest.mark.nightly
@pytest.mark.proves("S10")
def test_pyarrow_14_itself_is_refused_before_it_is_imported(of_2023, child, plant):
    root = plant(METADATA["S3 column"])
    script = str(ROOT / "phase0/run_all.py")
    done = with_old(of_2023, child.here, script, f"--data={root}")
    assert done.returncode == 12 and "pyarrow: version 14.0.0 is refused" in done.stderr
    assert list(child.here.iterdir()) == []


@pytest.mark.nightly
@pytest.mark.harm("S10")
def test_pyarrow_14_itself_runs_the_code_of_a_file(of_2023, child, plant):
    path = plant(METADATA["S3 column"]) / NAMED
    read = "import pyarrow as pa, pyarrow.parquet as pq; print(pa.__version__); pq.read_table"
    done = with_old(of_2023, child.here, "-c", f"{read}({str(path)!r})")
    assert done.stdout.strip() == "14.0.0" and (child.here / CANARY).is_dir()
