"""Gates: the verdict on a run, from its saved evaluation arrays and a protocol alone.

Not evaluation (lensjax.training.evaluate writes the arrays) and no pictures (lensjax.report).
Imports numpy, scipy, scikit-learn and lensjax.schema, nothing else: the same verdict in five
years, on a laptop.

    python -m lensjax.gates --workdir=runs/b3
"""

from lensjax.gates.protocol import Protocol, load_protocol

__all__ = ["Protocol", "load_protocol"]
