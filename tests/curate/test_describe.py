"""python -m lensjax.data describe: its files, what hostile text does to them, how it ends."""

import contextlib
import html
import io
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from lensjax import configuration, schema
from lensjax.curate import command, contact_sheet, describe_figures, describe_source
from lensjax.data import prepared
from lensjax.data.source import open_source
from lensjax.data.stampset import StampSet, canonical

HOSTILE = "<script>alert('x')</script>\"&\x1b[2J\u202e"
MAX_BYTES = 5_000_000


class Outline(HTMLParser):
    """The tags of a page, which must nest, and its words."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.words, self._open = [], [], []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def run(folder, *words, out="out"):
    cache = f"--config.data.cache_dir={folder / 'cache'}"
    return command.main(["describe", *map(str, words), f"--out={folder / out}", cache])


@pytest.fixture
def describe(tmp_path, capsys, monkeypatch):
    """Runs the command, drawing nothing: (exit code, stdout, last line of stderr)."""
    monkeypatch.setattr(contact_sheet, "sheet", lambda pictures, captions: b"a sheet")
    monkeypatch.setattr(contact_sheet, "png", lambda figure: b"a figure")
    monkeypatch.setattr(contact_sheet, "jpeg", lambda picture: b"a picture")
    monkeypatch.setattr(describe_figures, "histogram", lambda told, name: None)

    def described(*words, out="out"):
        code = run(tmp_path, *words, out=out)
        printed = capsys.readouterr()
        return code, printed.out, (printed.err.strip().splitlines() or [""])[-1]

    return described


def read(folder):
    return (
        Outline((folder / "describe.html").read_text(encoding="utf-8")),
        json.loads((folder / "describe.json").read_text()),
    )


def all_bytes(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# -- what is written ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(make_galaxies, tmp_path_factory):
    """(folder, printed) of a set with one NaN, everything drawn."""
    folder = tmp_path_factory.mktemp("whole")
    galaxies = make_galaxies()
    galaxies.pixels["train"][0, 1, 1, 30, 30] = np.nan
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert run(folder, galaxies.write(folder / "root")) == 0
    return folder, printed.getvalue()


def test_page_numbers_and_table_say_the_same(whole):
    folder, printed = whole
    page, told = read(folder / "out")
    assert told["counts"]["all"]["stamps"] == 42 and told["counts"]["rows_set_aside"] == 1
    assert "42, 2.06 MB of pixels" in page.text and "set aside as unusable 1" in page.text
    assert told["unusable"] == [
        {"where": "train/part-0.parquet row 1", "causes": ["band r: 1 NaN"], "decoded": True}
    ]
    assert "train/part-0.parquet row 1 band r" in page.text and "band r: 1 NaN" in page.text
    for name in ("theta_e_arcsec", "noise_g", "pair_outside"):
        gap = told["distributions"][name]["differences"]["lens: val from train"]
        assert f"{gap['value']:.3f} ({gap['chance']:.3f})" in page.text
    for ranking in told["strangest"]:
        for item in ranking["items"]:
            assert f"{item['value']:.4g}" in page.text and item["stamps"][0]["id"] in page.text
    assert "findings: 1 QUARANTINE" in printed and "rows set aside: 1" in printed
    assert f"python phase0/run_all.py --data={folder / 'root'}" in printed
    assert "phase0/run_all.py" in page.text and "verdict" in page.text


def test_pictures_are_files_too(whole):
    folder = whole[0] / "out" / "pictures"
    names = {path.stem for path in folder.iterdir()}
    assert {"sky", "contact_train", "contact_pairs", "strangest_stamps"} <= names
    assert "histogram_arc_snr" in names and "strangest_metadata_shortcut" not in names
    sheet = matplotlib.image.imread(folder / "contact_train.png")
    assert sheet.shape[1] == 6 * 236
    assert sheet[:192, :192].std() > 0.02 and sheet[192:280, :192].min() < 0.5  # picture, caption


def test_the_page_stands_alone_and_is_small(whole):
    source = (whole[0] / "out" / "describe.html").read_bytes()
    page = Outline(source.decode())
    assert len(source) < MAX_BYTES
    assert any("default-src 'none'" in (a.get("content") or "") for _, a in page.tags)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) > 100
    assert all(re.match(r"data:image/(png|jpeg);base64,", image["src"]) for image in images)
    assert all(image["alt"] for image in images)
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    anchors = {attributes.get("id") for _, attributes in page.tags}
    assert links and all(link[:1] == "#" and link[1:] in anchors for link in links)


def test_the_same_data_give_the_same_bytes_and_what_is_stale_goes(whole, describe, tmp_path):
    root, pictures = whole[0] / "root", tmp_path / "out" / "pictures"
    describe(root)
    before = all_bytes(tmp_path / "out")
    stale, own = pictures / "strangest_anchors.png", pictures / "mine.png"
    for path in (stale, own):
        path.write_bytes(b"of an earlier day")
    describe(root)
    assert not stale.exists() and own.read_bytes() == b"of an earlier day"
    own.unlink()
    assert all_bytes(tmp_path / "out") == before


def test_the_same_pictures_give_the_same_bytes(whole):
    told = read(whole[0] / "out")[1]["distributions"]["arc_snr"]
    picture = np.random.default_rng(0).uniform(0, 1, (64, 64, 3))
    once, twice = (
        (
            contact_sheet.png(describe_figures.histogram(told, "arc_snr")),
            contact_sheet.sheet([picture], [["a stamp", HOSTILE]]),
            contact_sheet.jpeg(picture),
        )
        for _ in range(2)
    )
    assert once == twice


def test_another_seed_draws_other_stamps(whole, describe, tmp_path):
    describe(whole[0] / "root", "--config.seed=7")
    first, other = (read(folder / "out")[1] for folder in (whole[0], tmp_path))
    assert first["samples"] != other["samples"] and first["strangest"] == other["strangest"]


# -- hostile text ---------------------------------------------------------------------------------


def hostile_root(galaxies, tmp_path):
    galaxies.columns["train"]["task_id"] = [f"{k}{HOSTILE}" for k in range(10)]
    galaxies.columns["train"]["brickname"][0] = HOSTILE[:16]
    galaxies.columns["train"]["bandset"] = [HOSTILE, *["grz"] * 9]
    galaxies.pixels["train"][0, 2, 0, 0, 0] = np.nan
    return galaxies.write(tmp_path / "root", "<img src=x onerror=alert(1)>\x1b[2J.parquet")


def test_hostile_names_are_text(galaxies, describe, tmp_path):
    code, printed, last = describe(hostile_root(galaxies, tmp_path))
    page, told = read(tmp_path / "out")
    assert code == 0
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert not [a for _, a in page.tags if "onerror" in a or a.get("src") == "x"]
    assert "<script>alert('x')</script>" in page.text and "\\x1b[2J" in page.text
    for text in (printed, last, (tmp_path / "out" / "describe.html").read_text()):
        assert "\x1b" not in text and "\u202e" not in text
    assert any(HOSTILE in stamp["id"] for (stamp,) in told["samples"]["train lens"])


def test_without_escaping_they_would_be_markup(galaxies, describe, tmp_path, monkeypatch):
    monkeypatch.setattr(html, "escape", lambda text, quote=True: text)
    root = hostile_root(galaxies, tmp_path)
    describe(root)
    assert "<script>alert('x')</script>" in (tmp_path / "out" / "describe.html").read_text()


# -- the simulated set ----------------------------------------------------------------------------


def as_simulated(galaxies, open_root, tmp_path):
    """StampSets of which every third negative is a look-alike without a lens."""
    source, sets = open_root(galaxies.write(tmp_path / "root")), {}
    for split in schema.SPLITS:
        made = source.read(split, None)
        table = {name: column.copy() for name, column in made.table.items()}
        ring = np.flatnonzero(table["label"] == 0)[::3]
        table["negative_kind"][ring] = "ring"
        keep = np.ones(len(made), bool)
        keep[ring + 1] = False  # its lens, whose id ends in -s
        table = {name: column[keep] for name, column in table.items()}
        sets[split] = canonical(StampSet(split, table, made.stamps[keep], "simulate"))
    return sets


def test_a_prepared_simulated_set_is_read_and_not_made(
    galaxies, open_root, describe, tmp_path, monkeypatch
):
    sets = as_simulated(galaxies, open_root, tmp_path)
    flags = [("data.cache_dir", str(tmp_path / "cache")), ("data.reader", "arrays")]
    config = configuration.load_config("configs/b3.py:tiny", flags)
    digest = open_source(config.data, config.population).digest()
    prepared.prepare(sets, tmp_path / "cache", digest, "arrays", config="simulated_tiny")

    def simulate(*args, **kwargs):
        raise AssertionError("it is prepared")

    monkeypatch.setattr(describe_source, "scan_source", simulate)
    words = ("--config=configs/b3.py:tiny", "--config.data.reader=arrays")
    code, printed, _ = describe(*words)
    page, told = read(tmp_path / "out")
    assert code == 0 and told["files"] is None and told["reader"] == "arrays"
    assert told["counts"]["splits"]["train"]["kinds"]["ring"] == 4
    assert told["counts"]["splits"]["train"]["pairs"] == 6
    assert len(told["samples"]["train look-alike"]) == 4 and "of them ring" in page.text
    assert "simulated set of b3:tiny" in printed
    assert shlex.split(told["phase0"])[2] == "--config=configs/b3.py:tiny"


def test_one_that_is_not_prepared_is_made_and_not_kept(
    galaxies, open_root, describe, tmp_path, monkeypatch
):
    sets = as_simulated(galaxies, open_root, tmp_path)
    monkeypatch.setattr(
        describe_source,
        "scan_source",
        lambda source, workers: (describe_source.scan_sets(sets), sets),
    )
    code, _, _ = describe("--config=configs/b3.py:tiny", "--config.data.reader=arrays")
    assert code == 0 and not (tmp_path / "cache" / "prepared").exists()
    assert read(tmp_path / "out")[1]["counts"]["splits"]["val"]["kinds"]["ring"] == 2


# -- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ([], "nothing to describe"),
        (["/nowhere/at/all"], "no such directory"),
        (["ROOT", "other"], "stray argument 'other'"),
        (["ROOT", "--sorce=parquet"], "Did you mean --source"),
        (["ROOT", "--source=parkett"], "unknown word 'parkett'"),
        (["ROOT", "--config.data.root=x"], "ROOT and --config.data.root name the root twice"),
        (["ROOT", "--source=npz", "--config.data.source=npz"], "name the source twice"),
        (["--config=configs/b33.py"], "no such config file"),
    ],
)
def test_wrong_use_is_exit_2_in_one_line(words, cause, describe, tmp_path):
    (tmp_path / "root").mkdir()
    words = [str(tmp_path / "root") if word == "ROOT" else word for word in words]
    code, printed, last = describe(*words)
    assert code == 2 and cause in last and printed == ""
    assert not (tmp_path / "out" / "describe.html").exists()


@pytest.mark.parametrize("inside", ["root/train", "root/val/described"])
def test_nothing_is_written_among_the_data(inside, galaxies, describe, tmp_path):
    root = galaxies.write(tmp_path / "root")
    before = all_bytes(root)
    code, _, last = describe(root, out=inside)
    assert code == 2 and "--out is among the data" in last
    assert all_bytes(root) == before and sorted(p.name for p in root.iterdir()) == [
        "test", "train", "val",
    ]  # fmt: skip


def test_a_place_that_cannot_be_written_to_is_exit_16(galaxies, describe, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, last = describe(galaxies.write(tmp_path / "root"), out="file")
    assert code == 16 and str(tmp_path / "file") in last and "--out=DIR" in last


def test_a_manifest_that_is_not_there_is_exit_2(galaxies, describe, tmp_path):
    code, _, last = describe(galaxies.write(tmp_path / "root"), "--manifest=/nowhere.parquet")
    assert code == 2 and "/nowhere.parquet" in last


def test_damage_is_listed_and_what_is_left_described(galaxies, describe, tmp_path):
    root = galaxies.write(tmp_path / "root")
    path = root / "test" / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    code, printed, _ = describe(root)
    page, told = read(tmp_path / "out")
    assert code == 0 and told["counts"]["splits"]["test"]["stamps"] == 0
    assert told["counts"]["splits"]["train"]["stamps"] == 20
    assert any(f["where"] == "test/part-0.parquet" for f in told["findings"])
    assert "test/part-0.parquet" in printed and "test/part-0.parquet" in page.text


def test_a_root_of_which_nothing_can_be_read_is_exit_10_and_its_findings_written(
    describe, tmp_path
):
    for split in schema.SPLITS:
        (tmp_path / "root" / split).mkdir(parents=True)
        (tmp_path / "root" / split / "part-0.parquet").write_bytes(b"PAR1 and no more")
    code, _, last = describe(tmp_path / "root")
    page, told = read(tmp_path / "out")
    assert code == 10 and "no stamp could be read" in last and "part-0.parquet" in last
    assert len([f for f in told["findings"] if f["severity"] == "ERROR"]) >= 3
    assert told["counts"]["all"]["stamps"] == 0 and "Nothing to rank." in page.text


def test_help_names_exit_codes_and_the_flags_of_the_page(capsys):
    assert command.main(["describe", "--help"]) == 0
    text = capsys.readouterr().out
    assert "exit codes" in text
    page = (Path(__file__).parents[2] / "docs" / "describe.md").read_text()
    for flag in ("--source", "--manifest", "--out", "--config"):
        assert flag in text and flag in page
