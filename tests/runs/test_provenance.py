"""A run goes on only as what it began as; what changed is named, and what was accepted is kept."""

import copy
import functools
import hashlib
import json
import subprocess

import pytest

from lensjax.runs import provenance, sourcecode
from lensjax.runs.workdir import Workdir
from lensjax.schema import ExitCode, LensjaxError

CONFIG = {"optimizer": {"learning_rate": 1e-4}, "data": {"root": "/old"}, "epochs": 50}
PROTOCOL = {"gates": {"auroc_test": {"threshold": 0.85}, "core_lr_auc": {"threshold": 0.65}}}


def seen(config=CONFIG, protocol=PROTOCOL, data="d1", catalogues=None):
    digest = hashlib.sha256(json.dumps(protocol).encode()).hexdigest()
    return provenance.collect(
        config=config,
        protocol=protocol,
        protocol_digest=digest,
        data_digest=data,
        catalogues=catalogues,
        devices=["cpu"],
        command=["main.py", "--config=configs/b3.py"],
    )


def changed(tree, path, value):
    tree = copy.deepcopy(tree)
    *parents, leaf = path.split(".")
    node = tree
    for name in parents:
        node = node[name]
    node[leaf] = value
    return tree


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A workdir in which a run began; the code is a stand-in, so that edits beside us do not count.
    The real code is looked at in tests of their own."""
    code = {"digest": "c", "files": "a" * 64 + "  lensjax/schema.py\n", "commit": None}
    monkeypatch.setattr(sourcecode, "describe", lambda: dict(code))
    monkeypatch.setattr(sourcecode, "uncommitted", lambda: b"")
    folder = Workdir(tmp_path)
    assert provenance.begin(folder, seen(), accept_change=False, step=0) == []
    return folder


def refusal_of(workdir, now, accept=False):
    before = workdir.provenance.read_bytes()
    with pytest.raises(LensjaxError) as caught:
        provenance.begin(workdir, now, accept_change=accept, step=9)
    assert caught.value.code == ExitCode.MISMATCH
    assert workdir.provenance.read_bytes() == before
    return str(caught.value)


def record_of(workdir):
    return json.loads(workdir.provenance.read_text())


def test_an_unchanged_resume_is_a_start_more(workdir):
    assert provenance.begin(workdir, seen(), accept_change=False, step=40) == []
    record = record_of(workdir)
    assert [start["step"] for start in record["starts"]] == [0, 40]
    assert record["starts"][1]["command"] == "main.py --config=configs/b3.py"
    assert record["packages"]["numpy"] and record["python"] and record["devices"] == ["cpu"]


def test_another_learning_rate_is_named_old_and_new_unless_accepted(workdir):
    now = seen(changed(CONFIG, "optimizer.learning_rate", 3e-4))
    message = refusal_of(workdir, now)
    assert "config.optimizer.learning_rate: 0.0001 -> 0.0003" in message
    assert "--accept-change" in message
    changes = provenance.begin(workdir, now, accept_change=True, step=40)
    assert [(c.field, c.old, c.new) for c in changes] == [
        ("config.optimizer.learning_rate", 1e-4, 3e-4)
    ]
    last = record_of(workdir)["starts"][-1]
    assert last["accepted"]
    assert last["changes"] == [
        {"field": "config.optimizer.learning_rate", "old": 1e-4, "new": 3e-4}
    ]
    assert provenance.begin(workdir, now, accept_change=False, step=50) == []  # now it is the run's


def test_without_the_guard_another_learning_rate_goes_unnoticed(workdir, monkeypatch):
    monkeypatch.setattr(provenance, "compare", lambda old, new: [])
    now = seen(changed(CONFIG, "optimizer.learning_rate", 3e-4))
    assert provenance.begin(workdir, now, accept_change=False, step=40) == []  # harm
    assert record_of(workdir)["starts"][-1]["changes"] == []


def test_another_protocol_or_other_data_is_refused_even_if_accepted(workdir):
    edited = seen(protocol=changed(PROTOCOL, "gates.core_lr_auc.threshold", 0.95))
    other = seen(data="d2")
    for now, field in (
        (edited, "protocol.gates.core_lr_auc.threshold: 0.65 -> 0.95"),
        (other, 'data_digest: "d1" -> "d2"'),
    ):
        for accept in (False, True):
            message = refusal_of(workdir, now, accept)
            assert field in message and "--fresh" in message
            assert "--accept-change" not in message


def test_data_not_known_yet_are_not_compared_and_not_forgotten(workdir):
    assert provenance.check(workdir, seen(data=None), accept_change=False) == []
    provenance.begin(workdir, seen(data=None), accept_change=False, step=1)
    assert "data_digest" in refusal_of(workdir, seen(data="d2"))


def test_a_scored_catalogue_may_be_added_but_not_exchanged(workdir, monkeypatch):
    begin = functools.partial(provenance.begin, workdir, accept_change=True, step=1)
    first = {"anchors": "a1", "contaminants": None}
    assert begin(seen(catalogues=first)) == []
    for accept in (False, True):
        message = refusal_of(workdir, seen(catalogues={"anchors": "a2"}), accept)
        assert 'catalogues.anchors: "a1" -> "a2"' in message and "--fresh" in message
    assert begin(seen(catalogues={"anchors": None, "contaminants": "c1"})) == []
    assert record_of(workdir)["catalogues"] == {"anchors": "a1", "contaminants": "c1"}
    assert "catalogues.anchors" in refusal_of(workdir, seen(catalogues={"anchors": "a2"}))
    monkeypatch.setattr(provenance, "FIXED", ("data_digest", "protocol"))
    assert begin(seen(catalogues={"anchors": "a2"})) == []  # harm: others are scored, unnoticed


def test_code_and_packages_are_named_and_may_be_accepted(workdir):
    now = seen()
    now["packages"]["jax"] = "0.1"
    now["code"]["files"] = "b" * 64 + "  lensjax/schema.py\n"
    message = refusal_of(workdir, now)
    assert 'code.lensjax/schema.py: "aaaaaaaaaaaa" -> "bbbbbbbbbbbb"' in message
    assert 'packages.jax: "' in message and '"0.1"' in message
    assert len(provenance.begin(workdir, now, accept_change=True, step=2)) == 2


def test_where_things_lie_and_the_machine_are_recorded_not_refused(workdir):
    now = seen(changed(CONFIG, "data.root", "/new"))
    now["devices"] = ["gpu", "gpu"]
    changes = provenance.begin(workdir, now, accept_change=False, step=3)
    assert {c.field for c in changes} == {"config.data.root", "devices"}
    assert not record_of(workdir)["starts"][-1]["accepted"]


def test_many_changes_are_counted_not_listed(workdir):
    now = seen(CONFIG | {f"new{i}": i for i in range(30)})
    assert "and 18 more" in refusal_of(workdir, now)


def test_an_unreadable_record_is_exit_12(workdir):
    workdir.provenance.write_text('{"schema": 1, "config"')
    assert "cannot be read" in refusal_of(workdir, seen())


def test_the_code_is_described_by_its_files():
    described = sourcecode.describe()
    lines = dict(reversed(x.split("  ")) for x in described["files"].splitlines())
    schema = sourcecode.ROOT / "lensjax" / "schema.py"
    assert lines["lensjax/schema.py"] == hashlib.sha256(schema.read_bytes()).hexdigest()
    assert any(name.startswith("configs/") for name in lines)
    executed = sourcecode.by_file(described)
    assert "code.lensjax/schema.py" in executed
    assert not any("configs/" in name for name in executed)


@pytest.fixture
def checkout(tmp_path):
    """A small project under git, committed."""
    root = tmp_path / "project"
    (root / "lensjax").mkdir(parents=True)
    (root / "lensjax" / "schema.py").write_text("A = 1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "-m", "x")
    return root


def git(root, *words):
    subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True)


def test_uncommitted_changes_become_a_patch_that_applies(checkout):
    clean = sourcecode.describe(checkout)
    assert clean["commit"] and clean["modified"] is False
    assert sourcecode.uncommitted(checkout) == b""
    (checkout / "lensjax" / "schema.py").write_text("A = 2\n")
    (checkout / "lensjax" / "new file.py").write_text("B = 1\n")
    now = sourcecode.describe(checkout)
    assert now["modified"] is True and now["digest"] != clean["digest"]
    patch = checkout.parent / "p.patch"
    patch.write_bytes(sourcecode.uncommitted(checkout))
    git(checkout, "checkout", "-q", "--", ".")
    (checkout / "lensjax" / "new file.py").unlink()
    git(checkout, "apply", str(patch))
    assert sourcecode.describe(checkout)["digest"] == now["digest"]


def test_a_copy_inside_somebody_elses_checkout_has_no_commit(checkout):
    inner = checkout / "vendor"
    (inner / "lensjax").mkdir(parents=True)
    (inner / "lensjax" / "schema.py").write_text("A = 1\n")
    described = sourcecode.describe(inner)
    assert described["commit"] is None and described["modified"] is None
    assert sourcecode.uncommitted(inner) == b""


def test_each_different_patch_is_kept_once(workdir, monkeypatch):
    for text, accept in ((b"one", False), (b"one", False), (b"two", False)):
        monkeypatch.setattr(sourcecode, "uncommitted", lambda text=text: text)
        provenance.begin(workdir, seen(), accept_change=accept, step=1)
    files = [start["patch"] and start["patch"]["file"] for start in record_of(workdir)["starts"]]
    assert files == [None, "provenance-2.patch", "provenance-2.patch", "provenance-4.patch"]
    assert (workdir.path / "provenance-4.patch").read_bytes() == b"two"
