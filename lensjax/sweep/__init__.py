"""A sweep: experiments times seeds, each a run of main.py in a process of its own, then compared.

Not a search: what is to be run is listed before the first run starts, and stays listed, so that no
seed can be shown alone. Trains nothing itself and imports no accelerator library.

    python -m lensjax.sweep --configs=a1,b3 --seeds=0,1,2 --workdir=runs/matrix

    plan = make_plan(["a1", "b3"], [0, 1, 2], "demo", [])
    code = run_sweep(plan, "runs/matrix")
"""

from lensjax.sweep.plan import make_plan
from lensjax.sweep.sweep import run_sweep

__all__ = ["make_plan", "run_sweep"]
