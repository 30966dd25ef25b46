"""A wrong command line is an error that names the right one, never silently something else."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lensjax import configuration, schema
from lensjax.schema import ExitCode, LensjaxError

B3, TINY = "--config=configs/b3.py", "--config=configs/b3.py:tiny"
EXPERIMENTS = ["a1", "b1", "b2", "b3", "b4", "baseline", "no_hardneg", "no_coredrop", "minimal"]


def load(*argv):
    parser = configuration.Parser(prog="main.py")
    configuration.add_config_flag(parser)
    flags, overrides = parser.parse_all(argv)
    return configuration.load_config(flags.config, overrides)


@pytest.mark.parametrize("variant", ["", ":demo", ":tiny"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_loads_locked_with_its_document(name, variant):
    config = load(f"--config=configs/{name}.py{variant}")
    assert config.experiment == name and config.is_locked
    text = (configuration.ROOT / f"configs/{name}.py").read_text()
    assert "Claim" in text and f"python main.py --config=configs/{name}.py" in text


def test_b3_is_the_experiment_of_the_domain_page():
    config = load("--config=configs/b3.py")
    assert (config.epochs, config.batch_size, config.patience, config.seed) == (50, 128, 15, 42)
    assert config.optimizer.learning_rate == 1e-4 and config.optimizer.weight_decay == 1e-4
    assert config.data.pairing == "unpaired" and config.model.width == 64
    starts = [start * config.epochs for start, _, _ in config.core_dropout.schedule]
    assert starts == [0, 10, 30]
    assert [(r, p) for _, r, p in config.core_dropout.schedule] == [(7, 0.7), (5, 0.5), (3, 0.3)]


def test_overrides_take_the_type_of_the_field():
    config = load(
        "--config=configs/b3.py",
        "--config.epochs=3",
        "--config.optimizer.learning_rate=1",
        "--config.population.theta_e=(1, 2.5)",
        "--config.data.root=123",
    )
    assert config.epochs == 3
    assert type(config.optimizer.learning_rate) is float
    assert config.population.theta_e == (1.0, 2.5)
    assert config.data.root == "123"


def test_a_root_turns_sim_into_parquet_and_proportions_are_then_measured():
    config = load("--config=configs/b3.py", "--config.data.root=/data")
    assert config.data.source == "parquet" and config.data.proportions is None
    stated = load(
        "--config=configs/b3.py",
        "--config.data.root=/data",
        "--config.data.proportions=(0.8, 0.1, 0.1)",
    )
    assert stated.data.proportions == (0.8, 0.1, 0.1)


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--config=configs/b3.py", "--config.optimizer.lerning_rate=1e-3"], "learning_rate"),
        (["--config=configs/b3.py", "--config.epohcs=3"], "epochs"),
        (["--config=configs/b3.py", "--confg.epochs=3"], "--config"),
        (["--config=configs/b3.py", "lr=3"], "--config.FIELD=VALUE"),
        (["--config=configs/b3.py", "--config.epochs=2.5"], "int"),
        (["--config=configs/b3.py", "--config.epochs=many"], "int"),
        (["--config=configs/b3.py", "--config.augment.dihedral=1"], "bool"),
        (["--config=configs/b3.py", "--config.population.theta_e=(1,)"], "tuple"),
        (["--config=configs/b3.py", "--config.epochs=3", "--config.epochs=4"], "twice"),
        (["--config=configs/b3.py", "--config=configs/b4.py"], "twice"),
        (["--config=configs/b33.py"], "configs/b3.py"),
        (["--config=configs/b3.py:dmeo"], ":demo"),
        (["--config=README.md"], "Python"),
        (["--config=configs/b3.py", "--config.patience=0"], "--config.patience"),
        (["--config=configs/b3.py", "--config.epochs=0"], "--config.epochs"),
        (["--config=configs/b3.py", "--config.optimizer.label_smoothing=1.5"], "0 .. 1"),
        (["--config=configs/b3.py", "--config.optimizer.learning_rate=-1"], "learning_rate"),
        (["--config=configs/b3.py", "--config.optimizer.learning_rate=1e999"], "learning_rate"),
        (["--config=configs/b3.py", "--config.model.conv=patchs"], "patches"),
        (["--config=configs/b3.py", "--config.model.dtype=float16"], "bfloat16"),
        (["--config=configs/b3.py", "--config.core_dropout.mode=median"], "outer_median"),
        (["--config=configs/b3.py", "--config.core_dropout.schedule=((0,7),)"], "probability"),
        ([B3, "--config.core_dropout.schedule=((0,7,'x'),)"], "probability"),
        ([B3, "--config.core_dropout.schedule=((0,7,.5),(.6,3,.3),(.2,5,.5))"], "rise"),
        ([B3, "--config.core_dropout.schedule=((.2,7,.5),)"], "begin at 0"),
        ([B3, "--config.core_dropout.schedule=()"], "begin at 0"),
        ([TINY, "--config.variant=demo"], "--config=FILE:variant"),
        ([TINY, "--config.variant=foo"], "--config=FILE:variant"),
        ([TINY, "--config.experiment=a1"], "--config=FILE"),
        ([B3, "--config.preprocessing.name=raw_robst"], "Did you mean raw_robust"),
        ([B3, "--config.data.pairing=pared"], "Did you mean paired"),
        ([B3, "--config.data.source=parkett"], "Did you mean parquet"),
        ([B3, "--config.data.source=parquet"], "--config.data.root=DIR"),
        ([B3, "--config.data.reader=array"], "Did you mean arrays"),
        ([B3, "--config.protocol=configs/protocols/defalt.json"], "default.json"),
        ([B3, "--config.protocol=README.md"], "JSON"),
        ([B3, "--config.seed=-1"], "--config.seed"),
        ([B3, "--config.seed=4294967296"], "--config.seed"),
        ([B3, "--config.data.seed=-1"], "--config.data.seed"),
        ([B3, "--config.data.pairs=(-1,24,24)"], "--config.data.pairs"),
        ([B3, "--config.data.lookalikes=(-1,2,2)"], "--config.data.lookalikes"),
        ([B3, "--config.data.hosts_per_brick=0"], "--config.data.hosts_per_brick"),
        ([B3, "--config.data.proportions=(0.8, 0.8, 0.1)"], "add up to 1"),
        ([B3, "--config.population.theta_e=(2.5, 1.5)"], "population.theta_e='(1.5, 2.5)'"),
        ([B3, "--config.population.theta_e=(1.5, 9.0)"], "population.theta_e"),
        ([B3, "--config.population.arc_snr=(0.0, 50.0)"], "population.arc_snr"),
        ([B3, "--config.population.arc_snr=(50.0, 8.0)"], "population.arc_snr"),
        ([], "--config"),
    ],
)
def test_a_wrong_command_line_names_the_right_one(argv, names):
    with pytest.raises(LensjaxError) as error:
        load(*argv)
    assert error.value.code == ExitCode.USAGE
    assert names in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("def get_config(variant):\n    return 1 / 0\n", "raises ZeroDivisionError"),
        ("import nothing_of_this_name\n", "raises ModuleNotFoundError"),
        ("def get_config(variant:\n", "raises SyntaxError"),
        ("raise SystemExit(0)\n", "raises SystemExit"),
        ("x = 1\n", "has no get_config"),
        ("def get_config(variant):\n    return {}\n", "no ConfigDict"),
        (
            "from ml_collections import ConfigDict\n"
            "def get_config(variant):\n    return ConfigDict({'epochs': 3})\n",
            "lacks the field seed",
        ),
        (
            "from configs import common\n"
            "def get_config(variant):\n    config = common.experiment('x', variant)\n"
            "    config.epochs = config.preprocessing\n    return config\n",
            "raises TypeError",
        ),
    ],
)
def test_a_faulty_config_file_is_named_with_its_fault(tmp_path, text, cause):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(LensjaxError) as error:
        load(f"--config={path}")
    assert error.value.code == ExitCode.USAGE
    assert cause in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_protocol_that_cannot_be_is_named_with_its_key(tmp_path):
    """Before anything is simulated, and in the part of the data checks too."""
    document = json.loads((configuration.ROOT / "configs/protocols/default.json").read_text())
    for part, key in ((document["phase0"]["limits"], "quarantin"), (document, "gats")):
        part[key] = 0
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(document))
        with pytest.raises(LensjaxError) as error:
            load(TINY, f"--config.protocol={path}")
        assert error.value.code == ExitCode.USAGE and key in str(error.value)
        del part[key]
    path.write_text(json.dumps(document))
    assert load(TINY, f"--config.protocol={path}").protocol == str(path)


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for name in (file, file / "below", "/proc/lensjax/below"):
        with pytest.raises(LensjaxError) as error:
            load(TINY, f"--config.data.cache_dir={name}")
        assert error.value.code == ExitCode.RESOURCE
        assert str(name) in str(error.value) and "cache_dir" in str(error.value)
    assert load(TINY, f"--config.data.cache_dir={tmp_path / 'a' / 'b'}")
    assert list(tmp_path.iterdir()) == [file]  # looked at, not made


def test_every_word_is_one_that_the_rooms_take():
    """The config is checked without jax: the rooms must know what it lets through."""
    import jax

    from lensjax.simulate.sets import MOST_THETA_E
    from lensjax.training import augment, model, preprocess

    stamps = np.random.default_rng(0).standard_normal((2, *schema.STAMP_SHAPE), np.float32)
    for name in configuration.WORDS["preprocessing.name"]:
        assert np.isfinite(preprocess.preprocess(stamps, name, 100.0)).all()
    masks = []
    for mode in configuration.WORDS["core_dropout.mode"]:
        fill, ones = augment.core_fill(stamps), np.ones(2, np.float32)
        keys = augment.stamp_keys(jax.random.key(0), np.zeros(2, np.int32), np.arange(2))
        masks.append(augment.core_dropout(keys, stamps, fill, 5 * ones, ones, mode=mode))
    assert not np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[1], masks[2])
    for conv in configuration.WORDS["model.conv"]:
        for dtype in configuration.WORDS["model.dtype"]:
            model.build(width=4, asinh_softening=0.0, conv=conv, dtype=dtype)
    assert configuration.SPANS["population.theta_e"] == MOST_THETA_E


def test_a_config_that_cannot_be_sets_no_run_aside(tmp_path):
    """--fresh moves a good run only for one that can begin."""
    import main

    kept = tmp_path / "runs"
    kept.mkdir()
    (kept / "gates.json").write_text("{}")
    for wrong in ("data.pairing=x", "preprocessing.name=x", "data.pairs=(-1,2,2)", "seed=-1"):
        with pytest.raises(LensjaxError) as error:
            main.main([TINY, f"--workdir={kept}", "--fresh", f"--config.{wrong}"])
        assert error.value.code == ExitCode.USAGE
    assert [path.name for path in kept.iterdir()] == ["gates.json"]


def test_importing_the_configuration_is_light():
    heavy = "{'jax', 'sklearn', 'scipy', 'tensorflow', 'pyarrow', 'rich'}"
    script = f"import sys, lensjax.configuration; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_config_survives_json():
    config = load("--config=configs/b3.py:tiny")
    assert json.loads(json.dumps(configuration.to_json(config))) == configuration.to_json(config)
