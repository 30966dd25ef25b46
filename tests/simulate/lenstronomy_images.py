"""Images of lensed sources by lenstronomy, numpy and scipy alone: the truth for the simulator.

Ray shooting, Sersic light, a Moffat kernel in real space and binned pixels; float64."""

import numpy as np
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from scipy.signal import fftconvolve
from scipy.special import gammaincinv

PIXEL = 0.262  # arcsec


def mass(lens):
    """lenstronomy's model and keywords of a population.Lens of numbers, about the origin."""
    e = (1 - lens.q) / (1 + lens.q)
    shape = {
        "theta_E": lens.theta_e,
        "e1": e * np.cos(2 * lens.phi),
        "e2": e * np.sin(2 * lens.phi),
        "center_x": 0.0,
        "center_y": 0.0,
    }
    shear = {"gamma1": lens.gamma1, "gamma2": lens.gamma2, "ra_0": 0.0, "dec_0": 0.0}
    if lens.gamma == 2.0:
        return LensModel(["SIE", "SHEAR"]), [shape, shear]
    return LensModel(["EPL", "SHEAR"]), [{**shape, "gamma": lens.gamma}, shear]


def image(lens, source, x0, y0, fwhm, pixels=36):
    """Smooth source and clumps, each weighted as in population.Lensed, blurred and binned:
    float64 [36, 36], sum about 1. Light has 10 points a pixel and axis, which small sources need;
    5 are enough for what the seeing has blurred."""
    axis = (np.arange(pixels * 10) - (pixels * 10 - 1) / 2) * PIXEL / 10
    x, y = np.meshgrid(axis - x0, axis - y0)
    model, keywords = mass(lens)
    bx, by = model.ray_shooting(x.ravel(), y.ravel(), keywords)

    def seen(model, **shape):
        light = LightModel([model]).surface_brightness(bx, by, [{"amp": 1.0, **shape}])
        return light.reshape(x.shape) / light.sum()

    e = (1 - source.q) / (1 + source.q)
    total = seen(
        "SERSIC_ELLIPSE",
        R_sersic=sersic_radius(source.radius, source.n),
        n_sersic=source.n,
        e1=e * np.cos(2 * source.phi),
        e2=e * np.sin(2 * source.phi),
        center_x=source.x,
        center_y=source.y,
    )
    for k in np.flatnonzero(source.clump_fraction):
        sigma = source.clump_radius[k] / np.sqrt(2 * np.log(2))
        at = {"center_x": source.clump_x[k], "center_y": source.clump_y[k]}
        total = total + source.clump_fraction[k] * seen("GAUSSIAN", sigma=sigma, **at)
    kernel = moffat(fwhm, PIXEL / 5)
    blurred = fftconvolve(binned(total / total.sum(), 2), kernel, mode="same")
    return binned(blurred, 5)


def binned(image, n):
    """Sums of squares of n x n points."""
    side = len(image) // n
    return image.reshape(side, n, side, n).sum((1, 3))


def moffat(fwhm, step, beta=3.5):
    """A Moffat kernel out to 5 FWHM, points `step` arcsec apart, sum that of the whole."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    half = int(5 * fwhm / step)
    axis = np.arange(-half, half + 1) * step
    r2 = axis[:, None] ** 2 + axis[None, :] ** 2
    return (1 + r2 / alpha**2) ** -beta * (beta - 1) / (np.pi * alpha**2) * step**2


def sersic_radius(radius, n):
    """What lenstronomy takes for the half-light `radius`: its b_n is a linear fit in n."""
    return radius * ((1.9992 * n - 0.3271) / gammaincinv(2 * n, 0.5)) ** n
