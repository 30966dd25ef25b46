"""The page an astronomer reads after a run: one HTML file, and its figures fit for a paper.

It reads what a run wrote and judges nothing; only commands import it.

    from lensjax.report import write_report
    write_report(Path("runs/b3"))             # runs/b3/report.html, runs/b3/figures/*
"""

from lensjax.report.page import SECTIONS, write_report

__all__ = ["SECTIONS", "write_report"]
