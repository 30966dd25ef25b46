"""One simulated set and one batch of its parts, for all tests of the simulator."""

import jax
import jax.numpy as jnp
import pytest

from lensjax.simulate import scene, simulate_split

THETA_E, ARC_SNR = (1.5, 2.5), (8.0, 50.0)


@pytest.fixture(scope="session")
def made():
    """Columns and stamps of 256 pairs and 64 look-alikes."""
    return simulate_split(
        "test", seed=42, n_pairs=256, n_lookalikes=64, theta_e=THETA_E, arc_snr=ARC_SNR
    )


@pytest.fixture(scope="session")
def spans():
    return jnp.array(THETA_E, jnp.float32), jnp.array(ARC_SNR, jnp.float32)


@pytest.fixture
def keys():
    return jax.random.split(jax.random.key(7), 16)


@pytest.fixture(scope="session")
def field():
    """16 fields (the batch of the simulator's own calls: no further program is compiled)."""
    return scene.fields(*jax.random.split(jax.random.key(8), (2, 16)))
