"""The tests are strict: what tests/conftest.py switches on is on."""

import warnings

import jax
import jax.numpy as jnp
import pytest
from jax.errors import KeyReuseError


def test_a_warning_is_an_error():
    with pytest.raises(UserWarning):
        warnings.warn("something", UserWarning, stacklevel=1)


def test_shapes_of_different_rank_do_not_mix():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones((2, 3)) + jnp.ones(3)


def test_a_key_is_used_once():
    key = jax.random.key(0)
    jax.random.normal(key)
    with pytest.raises(KeyReuseError):
        jax.random.normal(key)
