"""Gates: the verdict on a run, from its saved evaluation arrays and a protocol alone.

Not evaluation (lensjax.training.evaluate writes the arrays) and no pictures (lensjax.report).
Imports numpy, scipy, scikit-learn (with its threadpoolctl) and lensjax.schema, nothing else: the
same verdict in five years, on a laptop.

    python -m lensjax.gates --workdir=runs/b3

    judged = examine("runs/b3", load_protocol("configs/protocols/default.json"))
    write("runs/b3", judged)
    print(table(judged)); sys.exit(exit_code(judged))
"""

from lensjax.gates.measures import STEPS, examine
from lensjax.gates.printed import beside, table
from lensjax.gates.protocol import Protocol, load_protocol
from lensjax.gates.record import refuse, write
from lensjax.gates.verdict import exit_code, judge

__all__ = [
    "STEPS",
    "Protocol",
    "beside",
    "examine",
    "exit_code",
    "judge",
    "load_protocol",
    "refuse",
    "table",
    "write",
]
