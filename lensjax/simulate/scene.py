"""A stamp from its parts: galaxies, arc or look-alike, seeing, sky and shot noise.

Not the population (what is drawn) and not the sky map (where). Galaxies are Sersic profiles in
Fourier space, what is drawn in real space joins them there, and all is blurred at once. Stamp and
control of a pair share one noise realisation, so that their difference is the arc.

    >>> field = fields(brick_keys, host_keys)
    >>> control = stamps(field)
    >>> stamp = control + arcs(arc_keys, field, theta_e, arc_snr).light
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lensjax import schema
from lensjax.simulate import features, grid, psf
from lensjax.simulate.population import (
    EXTINCTION,
    SKY_BRIGHTNESS,
    Galaxy,
    Lens,
    Lensed,
    Sky,
    between,
    blue_colour,
    draw_host,
    draw_lens,
    draw_neighbours,
    draw_sky,
    draw_source,
    draws,
    flux,
    log_between,
)
from lensjax.simulate.profiles import sersic_table, sersic_transform


class Field(NamedTuple):
    """What a stamp shows whether or not an arc is in it."""

    sky: Sky
    host: Galaxy
    clean: jax.Array  # galaxies without noise, float32 [64, 64, 3], nanomaggies
    noise: jax.Array  # standard normal, the same for both members of a pair


class Arc(NamedTuple):
    """A lensed source without noise: light float32 [64, 64, 3], nanomaggies."""

    light: jax.Array
    theta_e: jax.Array  # arcsec
    arc_snr: jax.Array  # integrated, r band, sky noise only


def galaxy_spectrum(galaxy: Galaxy) -> jax.Array:
    """Spectrum float32 [2, 96, 49] of a galaxy of unit flux, not blurred."""
    transform = sersic_transform(
        grid.FREQUENCY_X[None, :],
        grid.FREQUENCY_Y[:, None],
        jnp.asarray(sersic_table()),
        radius=galaxy.radius,
        n=galaxy.n,
        q=galaxy.q,
        phi=galaxy.phi,
    )
    return grid.shifted(transform, galaxy.x, galaxy.y)


def blurs(sky: Sky) -> jax.Array:
    """What seeing and pixels do to a spectrum: float32 [3, 96, 49]."""
    seeing = psf.moffat_transform(jnp.asarray(grid.FREQUENCY)[None], sky.fwhm[:, None, None])
    return seeing * grid.PIXEL_WINDOW[None]


def observed(spectra: jax.Array, sky: Sky) -> jax.Array:
    """Blurred, pixel by pixel: spectra float32 [3, 2, 96, 49], nanomaggies -> [64, 64, 3]."""
    return jnp.moveaxis(jax.vmap(grid.to_pixels)(spectra * blurs(sky)[:, None]), 0, -1)


def in_bands(spectrum: jax.Array, fluxes: jax.Array) -> jax.Array:
    """One shape in three bands: [2, 96, 49] and nanomaggies [3] -> [3, 2, 96, 49]."""
    return fluxes[:, None, None, None] * spectrum[None]


def background(host: Galaxy, neighbours: Galaxy, present: jax.Array, sky: Sky) -> jax.Array:
    """Spectra float32 [3, 2, 96, 49], nanomaggies, of host and those neighbours that are present
    (bool [6]), dimmed by dust."""
    dust = EXTINCTION * sky.ebv
    total = in_bands(galaxy_spectrum(host), flux(host.magnitude + dust))
    shapes = jax.vmap(galaxy_spectrum)(neighbours)
    fluxes = flux(neighbours.magnitude + dust[None]) * present[:, None]
    # a sum, not a product of matrices: as many small products, one a host, are slow on a CPU
    return total + (fluxes[:, :, None, None, None] * shapes[:, None]).sum(0)


def arc_snr_of(arc: jax.Array, sky: Sky) -> jax.Array:
    """sqrt(sum (arc / sigma)^2) in r, of an arc float32 [64, 64, 3] in nanomaggies."""
    r = arc[..., schema.R_BAND] / sky.sigma[schema.R_BAND]
    return jnp.sqrt((r * r).sum())


def arc_snr_shot_of(arc: jax.Array, field: Field) -> jax.Array:
    """The same with the shot noise of the field's galaxies in sigma; the arc has none."""
    return arc_snr_of(arc / noise_scale(field.clean), field.sky)


def noise_scale(clean: jax.Array) -> jax.Array:
    """Sigma of the noise of sky and galaxies in sigmas of the sky: float32 [64, 64, 3]."""
    per_pixel = flux(jnp.asarray(SKY_BRIGHTNESS)) * grid.PIXEL**2
    return jnp.sqrt(1.0 + jnp.maximum(clean, 0.0) / per_pixel[None, None])


def _draw_field(brick: jax.Array, key: jax.Array):
    keys = jax.random.split(key, 4)
    sky, host, around = draw_sky(brick, keys[0]), draw_host(keys[1]), draw_neighbours(keys[2])
    return sky, host, around, jax.random.normal(keys[3], schema.STAMP_SHAPE)


def _paint_field(
    sky: Sky, host: Galaxy, around: tuple[Galaxy, jax.Array], noise: jax.Array
) -> Field:
    return Field(sky, host, observed(background(host, *around, sky), sky), noise)


def stamp_of(field: Field) -> jax.Array:
    """The field with the noise of sky and galaxies and the error of the sky's subtraction. Arcs
    and look-alikes are added to it, none with shot noise of its own: no class is noisier."""
    sky, clean = field.sky, field.clean
    noise = noise_scale(clean) * field.noise + sky.pedestal[None, None]
    return clean + noise * sky.sigma[None, None]


def _draw_arc(key: jax.Array, host: Galaxy, theta_e: jax.Array, arc_snr: jax.Array):
    keys = jax.random.split(key, 3)
    lens = draw_lens(keys[0], host, theta_e)
    snr = log_between(jax.random.uniform(keys[2], (), jnp.float32), *arc_snr)
    return lens, draw_source(keys[1], lens.theta_e), snr


def _paint_arc(lens: Lens, source: Lensed, snr: jax.Array, field: Field) -> Arc:
    shape = features.lensed_image(lens, source, field.host.x, field.host.y)
    light = _observed_in(shape, source.colour, field.sky)
    return Arc(light * (snr / arc_snr_of(light, field.sky)), lens.theta_e, snr)


def lookalike_of(
    numbers: tuple[jax.Array, jax.Array, jax.Array],
    field: Field,
    theta_e: jax.Array,
    arc_snr: jax.Array,
    *,
    kind: str,
) -> jax.Array:
    """Light float32 [64, 64, 3], nanomaggies, that makes the field a look-alike: as large and as
    bright as the population's arcs; a merging companion has the host's colours. numbers: uniform
    in [0, 1), of the shape [9, 3] and of size and brightness [2]; of unit scatter, colours [3]."""
    of_shape, own, scatter = numbers
    host, sky = field.host, field.sky
    radius = between(own[0], *theta_e)
    shape = features.LOOKALIKES[kind](of_shape, radius, host.x, host.y)
    red = host.magnitude - host.magnitude[schema.R_BAND] + 0.1 * scatter
    colour = red if kind == "merger" else blue_colour(scatter[:2])
    light = _observed_in(features.faded(shape), colour, sky)
    return light * (log_between(own[1], *arc_snr) / arc_snr_of(light, sky))


def _observed_in(shape: jax.Array, colour: jax.Array, sky: Sky) -> jax.Array:
    """A shape on the fine grid as float32 [64, 64, 3], in any unit, of `colour` (magnitudes in g,
    r, z, [3]) behind the dust."""
    spectrum = grid.to_spectrum(shape)
    magnitude = schema.ZERO_POINT + colour + EXTINCTION * sky.ebv
    return observed(in_bands(spectrum, flux(magnitude)), sky)


# For n stamps at once: every argument but the spans gains an axis [n]. Drawing and painting are
# programs apart: in one, XLA draws a host's numbers anew for each of its pixels.
_draw_fields = jax.jit(jax.vmap(_draw_field))
_paint_fields = jax.jit(jax.vmap(_paint_field))
_draw_arcs = jax.jit(jax.vmap(_draw_arc, (0, 0, None, None)))
_paint_arcs = jax.jit(jax.vmap(_paint_arc))
stamps = jax.jit(jax.vmap(stamp_of))
arc_snrs_shot = jax.jit(jax.vmap(arc_snr_shot_of))  # apart too: the arcs' program stays as it is


def fields(bricks: jax.Array, keys: jax.Array) -> Field:
    """Hosts with their neighbours under their sky, from the keys of their bricks and their own."""
    return _paint_fields(*_draw_fields(bricks, keys))


def arcs(keys: jax.Array, field: Field, theta_e: jax.Array, arc_snr: jax.Array) -> Arc:
    """Sources lensed by the fields' hosts. theta_e, arc_snr: spans, float32 [2]."""
    return _paint_arcs(*_draw_arcs(keys, field.host, theta_e, arc_snr), field)


@jax.jit
def _draw_lookalikes(keys: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    uniforms, normals = jax.vmap(lambda key: draws(key, 29, 3))(keys)
    return uniforms[:, :27].reshape(-1, 9, 3), uniforms[:, 27:], normals


@jax.jit
def _paint_lookalikes(kind, numbers, field: Field, theta_e, arc_snr) -> jax.Array:
    branches = [
        jax.vmap(functools.partial(lookalike_of, kind=name), (0, 0, None, None))
        for name in schema.LOOKALIKES
    ]
    return jax.lax.switch(kind, branches, numbers, field, theta_e, arc_snr)


def lookalikes(
    kind: int, keys: jax.Array, field: Field, theta_e: jax.Array, arc_snr: jax.Array
) -> jax.Array:
    """`lookalike_of` for n keys and fields, of the kind schema.LOOKALIKES[kind]: float32
    [n, 64, 64, 3]. One program for all kinds."""
    return _paint_lookalikes(kind, _draw_lookalikes(keys), field, theta_e, arc_snr)
