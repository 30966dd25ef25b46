"""lensjax: train a strong-gravitational-lens finder that can be trusted.

Importing it imports nothing heavy: jax, TensorFlow and cloud packages are imported by the one
module that needs each.
"""

__version__ = "0.1.0"
