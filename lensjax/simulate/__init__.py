"""The embedded default data: simulated lenses, controls and look-alikes, as pure jax functions.

Not a lens modeller. lenstronomy is what it is held to in the tests, not what it runs on.

    >>> columns, stamps = simulate_split("test", seed=42, n_pairs=8, n_lookalikes=4,
    ...                                  theta_e=(1.5, 2.5), arc_snr=(8.0, 50.0))
"""

from lensjax.simulate.sets import simulate_split

__all__ = ["simulate_split"]
