"""The job behind main.py: data, checks, preflight, training, evaluation, gates, report, in order.

Every stage finds out for itself whether it is done, so that a run started again goes on where it
stopped, and a finished one is judged anew from its arrays and says so. Judges nothing itself.

    with open_workdir("runs/b3") as workdir, StopRequest() as stop:
        code = run(config, workdir, stop, accept_change=False, debug=False)
"""

from lensjax.job.stages import run

__all__ = ["run"]
