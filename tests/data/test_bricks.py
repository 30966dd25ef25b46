"""Bricks of positions: the tiles of the Legacy Surveys, from their description."""

import numpy as np
import pytest

from lensjax.data.bricks import BRICK_DEG, brick_names


def by_hand(ra, dec):
    """One position: edges of its row and column, and the name of their middle."""
    middle = BRICK_DEG * np.floor(dec / BRICK_DEG + 0.5)
    around = 360 / BRICK_DEG * np.cos(np.deg2rad(abs(middle) - BRICK_DEG / 2))
    columns = 1 if abs(middle) == 90 else 2 * int(np.ceil(around / 2))
    edges = np.linspace(0, 360, columns + 1)
    column = np.searchsorted(edges, ra, side="right") - 1
    east = f"{(edges[column] + edges[column + 1]) / 2 * 1e4:07.0f}"[:4]
    return f"{east}{'m' if middle < 0 else 'p'}{f'{abs(middle) * 1e4:06.0f}'[:3]}"


def test_names_are_those_of_the_description():
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 2000), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 2000)))
    dec[:50] = rng.uniform(89.5, 90, 50)
    assert brick_names(ra, dec).tolist() == [by_hand(a, d) for a, d in zip(ra, dec, strict=True)]


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (0.0, 0.0, "0001p000"),
        (150.1, 2.2, "1501p022"),
        (359.99, -0.01, "3598p000"),
        (-0.01, -0.13, "3598m002"),
        (720.0, 0.0, "0001p000"),
        (10.0, 90.0, "1800p900"),
        (10.0, -90.0, "1800m900"),
    ],
)
def test_edges(ra, dec, name):
    assert brick_names(np.array([ra]), np.array([dec])).tolist() == [name]


def test_a_brick_is_no_wider_than_its_size():
    dec = np.repeat([0.0, 45.0, 80.0, 89.5], 20_000)
    ra = np.tile(np.linspace(0, 360, 20_000, endpoint=False), 4)
    names = brick_names(ra, dec)
    for one in (0.0, 45.0, 80.0, 89.5):
        mine = names[dec == one]
        runs = np.flatnonzero(np.append(mine[1:] != mine[:-1], True))
        widest = np.diff(runs, prepend=-1).max() * 360 / 20_000 * np.cos(np.deg2rad(one))
        assert widest <= BRICK_DEG + 0.02 and len(runs) == len(set(mine))
    assert brick_names(np.zeros(0), np.zeros(0)).shape == (0,)
