"""The quick check before each run: the core functions of the checklist in docs/lessons.md.

    pytest tests/test_core_functions.py

Each room's own tests say more; here is the handful without which no run is worth starting.
"""

import ast
import builtins
import io
import symtable
from collections import defaultdict

import jax
import numpy as np
import pytest

from lensjax import configuration, schema
from lensjax.data import order, stamps
from lensjax.gates import statistics
from lensjax.schema import ExitCode, LensjaxError
from lensjax.simulate import population, psf, scene
from lensjax.training import augment, hard_negatives, preprocess, step
from lensjax.training import model as resnet
from lensjax.training.feed import FILL, PREPROCESS

PACKAGE = configuration.ROOT / "lensjax"
SOURCES = [configuration.ROOT / "main.py", *sorted(PACKAGE.rglob("*.py"))]
RADIUS = schema.radius_map()


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    """Galaxies in sky noise: float32 [4, 64, 64, 3], nanomaggies."""
    noise = np.random.default_rng(7).normal(0.05, 0.02, (4, *schema.STAMP_SHAPE))
    return (noise + 3.0 * np.exp(-RADIUS / 4.0)[None, :, :, None]).astype(np.float32)


def blob_of(stamp: np.ndarray) -> bytes:
    """A stamp as Parquet files hold it."""
    buffer = io.BytesIO()
    np.savez(buffer, **{f"image_{band}": stamp[..., k] for k, band in enumerate(schema.BANDS)})
    return buffer.getvalue()


# -- data -----------------------------------------------------------------------------------


def test_nan_is_refused_and_named_and_nothing_becomes_zero(raw):
    bad = raw[0].copy()
    bad[3, 4, schema.R_BAND] = np.nan
    decoded = stamps.decode(blob_of(bad))
    assert np.isnan(decoded[3, 4, schema.R_BAND])
    (cause,) = stamps.validate(np.stack([raw[1], decoded]))
    assert (cause.row, cause.band, cause.name) == (1, "r", "NaN")
    assert stamps.validate(raw) == []


def test_there_is_one_centre_and_the_core_holds_80_pixels():
    assert schema.CENTRE == 31.5
    assert (RADIUS < schema.CORE_RADIUS).sum() == 80
    for symmetric in (RADIUS[::-1], RADIUS[:, ::-1], RADIUS.T):
        np.testing.assert_array_equal(symmetric, RADIUS)
    np.testing.assert_array_equal(augment.RADIUS, RADIUS.astype(np.float32))
    np.testing.assert_array_equal(preprocess.ANNULUS_OF_PIXEL, np.floor(RADIUS))
    off_by_half = np.hypot(*np.indices(RADIUS.shape) - 32.0)
    assert (off_by_half < schema.CORE_RADIUS).sum() != 80


def test_the_order_is_a_function_of_seed_and_step():
    labels = np.arange(50) % 2
    rows, epochs = order.batch_rows(42, 9, 8, labels)
    order.batch_rows(42, 3, 8, labels)  # what was asked before does not matter
    again, _ = order.batch_rows(42, 9, 8, labels)
    np.testing.assert_array_equal(rows, again)
    assert not np.array_equal(rows, order.batch_rows(43, 9, 8, labels)[0])
    assert not np.array_equal(*(order.epoch_order(42, epoch, labels) for epoch in (0, 1)))
    assert epochs.tolist() == [1] * 8


# -- training ---------------------------------------------------------------------------------


def reference(stamp: np.ndarray, residual: bool) -> np.ndarray:
    """Preprocessing of one stamp in plain numpy, float64, clipped at 100."""
    out = np.empty(stamp.shape)
    for k in range(stamp.shape[-1]):
        band = stamp[..., k].astype(np.float64)
        sky = band[(RADIUS >= 20) & (RADIUS < 32)]
        mad = np.median(np.abs(sky - np.median(sky)))
        out[..., k] = (band - np.median(sky)) / (1.4826 * mad)
        for ring in range(45 if residual else 0):
            here = np.floor(RADIUS) == ring
            out[here, k] -= np.median(out[here, k])
    return np.clip(out, -100, 100)


@pytest.mark.parametrize("name", schema.PREPROCESSINGS)
def test_preprocessing_is_finite_and_that_of_numpy(raw, name):
    got = np.asarray(PREPROCESS(raw, name=name, clip=100.0))
    assert np.isfinite(got).all()
    expected = reference(raw[0], residual=name != "raw_robust")
    np.testing.assert_allclose(got[0], expected, atol=2e-4, rtol=1e-5)


def test_core_dropout_masks_what_it_says_and_nothing_else(raw):
    keys = jax.random.split(jax.random.key(1), 4)
    fill = FILL(raw)
    radius = np.full(4, 5.0, np.float32)
    probability = np.array([1, 1, 1, 0], np.float32)
    masked = np.asarray(jax.jit(augment.core_dropout)(keys, raw, fill, radius, probability))
    core = RADIUS < 5
    np.testing.assert_array_equal(masked[:, ~core], raw[:, ~core])
    median = np.broadcast_to(np.asarray(fill[0])[:3, None], masked[:3, core].shape)
    np.testing.assert_array_equal(masked[:3, core], median)
    np.testing.assert_array_equal(masked[3], raw[3])


def test_augmentation_is_new_every_epoch_and_for_every_stamp():
    key, n = jax.random.key(42), 64
    ids, epoch = np.arange(n, dtype=np.int32), np.zeros(n, np.int32)

    def drawn(epochs: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return np.asarray(augment.draw_dihedral(augment.stamp_keys(key, epochs, ids)))

    first = drawn(epoch, ids)
    assert set(first.tolist()) == set(range(8))
    assert not np.array_equal(first, drawn(epoch + 1, ids))
    np.testing.assert_array_equal(first[::-1], drawn(epoch, ids[::-1]))  # whatever the batch


def test_the_shuffle_keeps_the_flux_of_every_annulus_and_no_shape(raw):
    arcs = raw - raw[:1]
    keys = jax.random.split(jax.random.key(2), 4)
    shuffled = np.asarray(jax.jit(hard_negatives.azimuthal_shuffle)(keys, arcs))
    assert not np.array_equal(shuffled[1], arcs[1])
    for k in range(45):
        ring = np.floor(RADIUS) == k  # whole pixels move: colours stay together
        got, was = (np.sort(x[1][ring].view("f4,f4,f4").ravel()) for x in (shuffled, arcs))
        np.testing.assert_array_equal(got, was)


def test_a_step_lowers_the_loss(raw):
    recipe = step.Recipe(
        seed=42,
        dihedral=False,
        hard_negative_fraction=0.0,
        preprocessing="raw_robust",
        clip=100.0,
        dropout_radius=(0.0,),
        dropout_probability=(0.0,),
        dropout_mode="outer_median",
        soft_edge_px=0.0,
        weight_decay=1e-4,
        clip_norm=1.0,
        label_smoothing=0.0,
        ema_decay=0.0,
    )
    model = resnet.build(width=2, asinh_softening=3.0, conv="lax", dtype="float32")
    model = model.clone(stages=(1, 1))  # the same parts, compiled in seconds
    inputs = PREPROCESS(raw, name="raw_robust", clip=100.0)
    median, sigma = FILL(inputs)
    source = {
        "inputs": inputs,
        "labels": np.int8([1, 0, 1, 0]),
        "ids": np.arange(4, dtype=np.int32),
        "fill_median": median,
        "fill_sigma": sigma,
    }
    batch = {
        "rows": np.arange(4, dtype=np.int32),
        "epochs": np.zeros(4, np.int32),
        "learning_rate": np.float32(2e-3),
        "augment": np.float32(0),
    }
    state, losses = step.init_state(model, recipe), []
    train_step = step.make_train_step(model, recipe)
    for _ in range(8):
        state, loss = train_step(state, source, batch)
        losses.append(float(loss))
    assert losses[-1] < losses[0] and int(state["step"]) == 8 and int(state["bad_step"]) == -1


# -- judgement, words, code -------------------------------------------------------------------


def test_one_class_has_no_auroc():
    with pytest.raises(statistics.StatisticsError, match="one class only"):
        statistics.auroc(np.arange(4.0), np.ones(4))
    assert statistics.auroc(np.arange(4.0), np.array([0, 0, 1, 1])) == 1.0


def test_a_misspelt_field_is_exit_2_and_the_right_one_is_named():
    with pytest.raises(LensjaxError, match="unknown config field") as error:
        configuration.load_config("configs/b3.py:tiny", [("optimizer.lerning_rate", "1e-3")])
    assert error.value.code == ExitCode.USAGE
    assert "optimizer.learning_rate" in str(error.value)


def test_a_galaxy_of_magnitude_20_has_10_nanomaggies():
    zero, fwhm = np.float32(0), np.full(3, 1.2, np.float32)
    sky = population.Sky(fwhm, fwhm, fwhm, fwhm, zero)
    galaxy = population.Galaxy(
        magnitude=np.array([20.0, 20.0, 22.5], np.float32),
        radius=np.float32(0.5),
        n=np.float32(1.0),
        q=np.float32(0.8),
        phi=np.float32(0.3),
        x=zero,
        y=zero,
    )

    @jax.jit
    def drawn(galaxy: population.Galaxy) -> jax.Array:
        fluxes = population.flux(galaxy.magnitude)
        return scene.observed(scene.in_bands(scene.galaxy_spectrum(galaxy), fluxes), sky)

    aperture = np.asarray(drawn(galaxy))[RADIUS < 31].sum(axis=0)
    np.testing.assert_allclose(aperture, [10.0, 10.0, 1.0], rtol=0.01)


def test_a_psf_wider_than_the_stamp_is_refused():
    psf.refuse_wide_psf(1.2)
    with pytest.raises(LensjaxError, match="does not fit a stamp"):
        psf.refuse_wide_psf(40.0)


def undefined_names(source: str, path: str = "") -> list[str]:
    """Names that functions read and that neither the module nor Python defines."""
    top = symtable.symtable(source, path, "exec")
    known = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    known |= {s.get_name() for s in top.get_symbols() if s.is_namespace()} | set(dir(builtins))
    known |= {"__file__", "__name__", "__doc__"}

    def unknown(table: symtable.SymbolTable) -> list[str]:
        mine = [s for s in table.get_symbols() if s.is_referenced()]
        found = [s.get_name() for s in mine if (s.is_global() or table is top)]
        return [name for name in found if name not in known] + [
            name for child in table.get_children() for name in unknown(child)
        ]

    return unknown(top)


def test_every_name_is_defined():
    for path in SOURCES:
        assert undefined_names(path.read_text(), str(path)) == [], path
    assert undefined_names("def f():\n    return gate_reslt\n") == ["gate_reslt"]


def written_twice(sources: dict[str, str]) -> list[list[str]]:
    """Functions of one body (docstring left out, two statements or more) in two places."""
    places = defaultdict(list)
    for name, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[ast.get_docstring(node) is not None :]
                if len(body) > 1:
                    places[ast.dump(ast.Module(body, []))].append(f"{name}:{node.name}")
    return [found for found in places.values() if len(found) > 1]


def test_no_function_is_written_twice():
    assert written_twice({path.name: path.read_text() for path in SOURCES}) == []
    text = 'def f(x):\n    """One."""\n    y = x + 1\n    return y\n'
    copy = text.replace("def f", "def g").replace("One", "Two")
    assert written_twice({"a": text, "b": copy}) == [["a:f", "b:g"]]


HEAVY = {"tensorflow", "tensorflow_datasets", "s3fs", "boto3", "gcsfs", "apache_beam", "torch"}


def heavy_imports(source: str) -> set[str]:
    """Packages of HEAVY that importing the module would import."""
    found = set()
    for node in ast.parse(source).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found |= {name.split(".")[0] for name in names} & HEAVY
    return found


def test_importing_lensjax_needs_no_cloud_package_and_no_tensorflow():
    builder = PACKAGE / "data" / "lens_stamps" / "lens_stamps_dataset_builder.py"
    for path in SOURCES:
        assert heavy_imports(path.read_text()) == set() or path == builder, path
    assert heavy_imports("import s3fs\nfrom tensorflow import data\n") == {"s3fs", "tensorflow"}
