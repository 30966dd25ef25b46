"""A wrong command line is an error that names the right one, never silently something else."""

import json

import pytest

from lensjax import configuration
from lensjax.schema import ExitCode, LensjaxError

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
        ([], "--config"),
    ],
)
def test_a_wrong_command_line_names_the_right_one(argv, names):
    with pytest.raises(LensjaxError) as error:
        load(*argv)
    assert error.value.code == ExitCode.USAGE
    assert names in str(error.value) and "\n" not in str(error.value)


def test_the_config_survives_json():
    config = load("--config=configs/b3.py:tiny")
    assert json.loads(json.dumps(configuration.to_json(config))) == configuration.to_json(config)
