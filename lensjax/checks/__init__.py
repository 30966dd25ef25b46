"""The data checks before every run: is there anything in these stamps that a model must not see?

Not readers (lensjax.data) and not gates (lensjax.gates): the checks look at all rows before
training, the gates at the model after it. Rules: the phase 0 part of docs/exit_criteria.md.

    >>> from lensjax.checks.run import read_sets, run_checks
"""
