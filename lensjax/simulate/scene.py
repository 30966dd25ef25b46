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
    Sky,
    blue_colour,
    draw_host,
    draw_lens,
    draw_neighbours,
    draw_sky,
    draw_source,
    flux,
    log_uniform,
    normal,
    uniform,
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
    return seeing * grid.PIXEL_WINDOW


def observed(spectra: jax.Array, sky: Sky) -> jax.Array:
    """Blurred, pixel by pixel: spectra float32 [3, 2, 96, 49], nanomaggies -> [64, 64, 3]."""
    return jnp.moveaxis(jax.vmap(grid.to_pixels)(spectra * blurs(sky)[:, None]), 0, -1)


def in_bands(spectrum: jax.Array, fluxes: jax.Array) -> jax.Array:
    """One shape in three bands: [2, 96, 49] and nanomaggies [3] -> [3, 2, 96, 49]."""
    return fluxes[:, None, None, None] * spectrum[None]


def background(key: jax.Array, host: Galaxy, sky: Sky) -> jax.Array:
    """Spectra float32 [3, 2, 96, 49], nanomaggies, of host and neighbours, dimmed by dust."""
    neighbours, present = draw_neighbours(key)
    dust = EXTINCTION * sky.ebv
    total = in_bands(galaxy_spectrum(host), flux(host.magnitude + dust))
    shapes = jax.vmap(galaxy_spectrum)(neighbours)
    fluxes = flux(neighbours.magnitude + dust[None]) * present[:, None]
    return total + jnp.tensordot(fluxes.T, shapes, 1, precision=jax.lax.Precision.HIGHEST)


def arc_snr_of(arc: jax.Array, sky: Sky) -> jax.Array:
    """sqrt(sum (arc / sigma)^2) in r, of an arc float32 [64, 64, 3] in nanomaggies."""
    r = arc[..., schema.R_BAND] / sky.sigma[schema.R_BAND]
    return jnp.sqrt((r * r).sum())


def field_of(brick: jax.Array, key: jax.Array) -> Field:
    """A host with its neighbours under its sky, from the keys of its brick and of itself."""
    keys = jax.random.split(key, 4)
    sky, host = draw_sky(brick, keys[0]), draw_host(keys[1])
    clean = observed(background(keys[2], host, sky), sky)
    return Field(sky, host, clean, jax.random.normal(keys[3], schema.STAMP_SHAPE))


def stamp_of(field: Field) -> jax.Array:
    """The field with the noise of sky and galaxies and the error of the sky's subtraction. Arcs
    and look-alikes are added to it, none with shot noise of its own: no class is noisier."""
    sky, clean = field.sky, field.clean
    per_pixel = flux(jnp.asarray(SKY_BRIGHTNESS)) * grid.PIXEL**2
    variance = sky.sigma**2 * (1.0 + jnp.maximum(clean, 0.0) / per_pixel)
    return clean + jnp.sqrt(variance) * field.noise + sky.pedestal * sky.sigma


def arc_of(key: jax.Array, field: Field, theta_e: jax.Array, arc_snr: jax.Array) -> Arc:
    """A source lensed by the field's host. theta_e, arc_snr: spans, float32 [2]."""
    keys = jax.random.split(key, 3)
    lens = draw_lens(keys[0], field.host, theta_e)
    source = draw_source(keys[1], lens.theta_e)
    shape = features.lensed_image(lens, source, field.host.x, field.host.y)
    light = _observed_in(shape, source.colour, field.sky)
    snr = log_uniform(keys[2], *arc_snr)
    return Arc(light * (snr / arc_snr_of(light, field.sky)), lens.theta_e, snr)


def lookalike_of(
    key: jax.Array,
    field: Field,
    theta_e: jax.Array,
    arc_snr: jax.Array,
    shape_of: features.Shape,
) -> jax.Array:
    """Light float32 [64, 64, 3], nanomaggies, that makes the field a look-alike: as large and as
    bright as the population's arcs; a merging companion has the host's colours."""
    keys = jax.random.split(key, 4)
    host, sky = field.host, field.sky
    shape = shape_of(keys[0], uniform(keys[1], *theta_e), host.x, host.y)
    red = host.magnitude - host.magnitude[schema.R_BAND] + normal(keys[2], 0.0, 0.1, (3,))
    colour = red if shape_of is features.merger else blue_colour(keys[2])
    light = _observed_in(features.faded(shape), colour, sky)
    return light * (log_uniform(keys[3], *arc_snr) / arc_snr_of(light, sky))


def _observed_in(shape: jax.Array, colour: jax.Array, sky: Sky) -> jax.Array:
    """A shape on the fine grid as float32 [64, 64, 3], in any unit, of `colour` (magnitudes in g,
    r, z, [3]) behind the dust."""
    spectrum = grid.to_spectrum(shape)
    magnitude = schema.ZERO_POINT + colour + EXTINCTION * sky.ebv
    return observed(in_bands(spectrum, flux(magnitude)), sky)


# For n stamps at once: every argument but the spans gains an axis [n].
fields = jax.jit(jax.vmap(field_of))
stamps = jax.jit(jax.vmap(stamp_of))
arcs = jax.jit(jax.vmap(arc_of, (0, 0, None, None)))


@jax.jit
def lookalikes(
    kind: jax.Array, keys: jax.Array, field: Field, theta_e: jax.Array, arc_snr: jax.Array
) -> jax.Array:
    """`lookalike_of` for n keys and fields: float32 [n, 64, 64, 3]. kind: int32 scalar, an index
    of schema.LOOKALIKES."""
    branches = [
        jax.vmap(
            functools.partial(lookalike_of, shape_of=features.LOOKALIKES[name]), (0, 0, None, None)
        )
        for name in schema.LOOKALIKES
    ]
    return jax.lax.switch(kind, branches, keys, field, theta_e, arc_snr)
