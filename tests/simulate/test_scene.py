"""Stamps: units, noise, seeing, signal to noise, and what look-alikes are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError
from lensjax.simulate import grid, psf, scene, sets

AXIS = (np.arange(64) - 31.5) * 0.262
RADIUS = np.hypot(AXIS[None, :], AXIS[:, None])
ENDS = (jnp.zeros_like, jnp.ones_like)


def point(x0, fwhm):
    """Noiseless r stamp of a point source of unit flux at `x0` arcsec in x."""
    spectrum = grid.shifted(jnp.ones((96, 49)), jnp.float32(x0), jnp.float32(0.0))
    blur = psf.moffat_transform(jnp.asarray(grid.FREQUENCY), jnp.float32(fwhm)) * grid.PIXEL_WINDOW
    return np.asarray(grid.to_pixels(spectrum * blur[None]))


def test_aperture_photometry_finds_the_catalogue_s_magnitudes(field):
    host = field.host._replace(radius=jnp.full(16, 0.5), n=jnp.full(16, 1.0))
    sky = field.sky._replace(ebv=jnp.zeros(16))
    around = jax.tree.map(lambda a: jnp.stack([a] * 6, 1), host), jnp.zeros((16, 6), bool)
    clean = np.asarray(scene._paint_fields(sky, host, around, field.noise).clean)
    inside = clean[:, RADIUS < 7.5].sum(1)
    magnitude = 22.5 - 2.5 * np.log10(inside)  # one nanomaggie is magnitude 22.5
    assert magnitude == pytest.approx(np.asarray(host.magnitude), abs=0.02)


def test_a_point_source_has_the_stated_width():
    stamp = point(0.131, 1.18)  # centred on pixel 32 of rows 31.5: the profile along x
    alpha = 1.18 / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    fine = (np.arange(64 * 15) - (64 * 15 - 1) / 2) * 0.262 / 15
    r2 = (fine[None, :] - 0.131) ** 2 + fine[:, None] ** 2
    profile = (1 + r2 / alpha**2) ** -3.5 * 2.5 / (np.pi * alpha**2) * (0.262 / 15) ** 2
    truth = profile.reshape(64, 15, 64, 15).sum((1, 3))
    assert np.abs(stamp - truth).max() < 2e-3 * truth.max()


def test_depth_is_what_optimal_photometry_of_blank_stamps_finds(field):
    blank = field._replace(
        clean=jnp.zeros_like(field.clean),
        sky=field.sky._replace(pedestal=jnp.zeros((16, 3))),
    )
    stamps = np.asarray(scene.stamps(blank))
    errors = []
    for i in range(16):
        for b in range(3):
            p = point(0.0, float(field.sky.fwhm[i, b]))
            spread = np.fft.rfft2(np.fft.ifftshift(p))
            fluxes = np.fft.irfft2(np.fft.rfft2(stamps[i, ..., b]) * spread.conj()) / (p**2).sum()
            depth = 22.5 - 2.5 * np.log10(5 * fluxes.std())
            errors.append(depth - float(field.sky.depth[i, b]))
    # 48 stamps of about 60 independent apertures: 0.014 mag
    assert np.mean(errors) == pytest.approx(0.0, abs=0.05)
    assert np.std(errors) < 0.2


def test_sky_noise_and_shot_noise_are_in_the_control(field):
    control = np.asarray(scene.stamps(field))
    residual = control - np.asarray(field.clean)
    sigma = np.asarray(field.sky.sigma)[:, None, None]
    outside = (residual / sigma)[:, RADIUS > 7.0]
    assert outside.std() == pytest.approx(1.0, abs=0.05)
    expected = np.sqrt(
        1 + np.asarray(field.clean) / (np.asarray(scene.flux(scene.SKY_BRIGHTNESS)) * 0.262**2)
    )
    scaled = (residual / sigma / expected)[:, RADIUS < 1.0]
    assert scaled.std() == pytest.approx(1.0, abs=0.1)
    assert (residual / sigma)[:, RADIUS < 1.0].std() > 1.05  # galaxies do add noise


def test_snr_of_an_arc_is_that_of_the_catalogue(field, keys, spans):
    arc = scene.arcs(keys, field, *spans)
    control = np.asarray(scene.stamps(field))
    difference = (control + np.asarray(arc.light) - control)[..., 1]
    noise = (control - np.asarray(field.clean))[:, RADIUS > 7.0, 1]
    measured = np.sqrt((difference**2).sum((1, 2))) / noise.std(1)
    assert measured == pytest.approx(np.asarray(arc.arc_snr), rel=0.1)  # sigma of 1,700 pixels
    assert np.mean(measured / np.asarray(arc.arc_snr)) == pytest.approx(1.0, abs=0.015)


def test_snr_with_shot_noise_is_that_of_the_noise_that_was_added(field, keys, spans):
    light = scene.arcs(keys, field, *spans).light
    found = np.asarray(scene.arc_snrs_shot(light, field))
    # sigma of each pixel, from the noise itself: stamps of no noise and of one sigma everywhere
    none, one = (np.asarray(scene.stamps(field._replace(noise=f(field.noise)))) for f in ENDS)
    sigma = (one.astype(np.float64) - none)[..., 1]
    measured = np.sqrt(((np.asarray(light, np.float64)[..., 1] / sigma) ** 2).sum((1, 2)))
    assert found.dtype == np.float32
    assert found == pytest.approx(measured, rel=1e-4)


def test_wings_do_not_wrap():
    stamp = point(8.2, 1.18)
    assert np.abs(stamp[:, :3]).max() < 1e-5 * stamp.max()
    # half a period outside the frame light would come in at the far edge: what is prevented
    assert point(17.0, 1.18)[:, :3].max() > 1e-2 * stamp.max()


@pytest.mark.parametrize("kind", range(4), ids=schema.LOOKALIKES)
def test_lookalikes_are_as_bright_and_as_large_as_arcs(kind, field, keys, spans):
    light = np.asarray(scene.lookalikes(kind, keys, field, *spans))
    r = light[..., 1]
    snr = np.sqrt((r**2).sum((1, 2))) / np.asarray(field.sky.sigma)[:, 1]
    assert snr.min() > 8.0 * 0.999 and snr.max() < 50.0 * 1.001 and snr.std() > 5.0
    size = (r * RADIUS).sum((1, 2)) / r.sum((1, 2))
    assert 1.3 < size.mean() < 2.8 and size.max() < 4.0
    # nothing stops at the edge of the fine grid, 28 pixels from the centre
    assert np.abs(r[:, 4, :]).max() < 0.01 * r.max()
    blue = light[..., 0].sum((1, 2)) / r.sum((1, 2))
    host = np.asarray(scene.flux(field.host.magnitude))
    red = np.median(host[:, 0] / host[:, 1])
    assert (np.median(blue) < 1.3 * red) == (schema.LOOKALIKES[kind] == "merger")


def test_a_ring_is_closed_and_a_companion_is_not(field, keys, spans):
    numbers = scene._draw_lookalikes(keys)

    def sectors(kind):  # how many of 12 sectors about the host hold light
        light = np.asarray(scene._paint_lookalikes(kind, numbers, field, *spans))[..., 1]
        angle = (np.arctan2(AXIS[:, None], AXIS[None, :]) / (np.pi / 6)).astype(int) % 12
        held = np.stack([light[:, (angle == k) & (RADIUS > 1.0)].sum(1) for k in range(12)], 1)
        return (held > 0.25 * held.max(1, keepdims=True)).sum(1).mean()

    ring, spiral, merger, companion = (sectors(kind) for kind in range(4))
    assert ring > 9 and spiral > 5
    assert companion < 6 and merger < 8


def test_a_psf_wider_than_the_stamp_is_refused(monkeypatch):
    for wide in (4.0, 0.0, float("nan"), np.array([1.0, 9.0])):
        with pytest.raises(LensjaxError) as caught:
            psf.refuse_wide_psf(wide)
        assert caught.value.code == ExitCode.USAGE
    psf.refuse_wide_psf(np.array([0.7, 3.3]))
    monkeypatch.setattr(sets, "SEEING_RANGE", (0.9, 9.0))
    few = {"seed": 1, "n_pairs": 1, "n_lookalikes": 0, "theta_e": (1.0, 2.0), "arc_snr": (8.0, 9.0)}
    with pytest.raises(LensjaxError, match="does not fit a stamp"):
        sets.simulate_split("val", **few)
    # what the guard prevents: light that is not in the stamp
    assert point(0.0, 3.3).sum() > 0.985
    assert point(0.0, 9.0).sum() < 0.95
