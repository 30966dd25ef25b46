"""The verdict of a run: gates from the saved arrays alone, then results, report and table.

code = judge(job)
"""

from __future__ import annotations

import json
from typing import Any

from lensjax import gates
from lensjax.job.job import Job
from lensjax.progress import progress_bar
from lensjax.report import SECTIONS, write_report
from lensjax.runs.logs import say
from lensjax.runs.results import write_results
from lensjax.schema import ExitCode


def judge(job: Job) -> ExitCode:
    """Judge, write gates.json, measures.json, training_results.json and the report, and print the
    tables."""
    workdir = job.workdir
    with progress_bar(desc="judge", unit="part", total=gates.STEPS) as bar:
        judged = gates.examine(workdir.path, job.protocol, advance=bar.update)
    gates.write(workdir.path, judged)
    manifest = json.loads(workdir.eval_manifest.read_text())
    write_results(
        workdir.results,
        success=True,
        best_epoch=manifest["best_epoch"],
        best_auroc=manifest["best_auroc"],
        gates=judged,
        quarantined=manifest["phase0"]["quarantined"],
    )
    with progress_bar(desc="report", total=SECTIONS, unit="section") as bar:
        report = write_report(workdir.path, bar.update)
    say(gates.table(judged))
    say(_population_line(manifest))
    say(f"report: {report}")
    return ExitCode(gates.exit_code(judged))


def _population_line(manifest: dict[str, Any]) -> str:
    """What the verdict is about, in one line."""
    spans = {"theta_e": ("theta_E", " arcsec"), "arc_snr": ("arc SNR", "")}
    parts = [f"{manifest['mode']} test stamps, {manifest['preprocessing']}"]
    for key, (name, unit) in spans.items():
        span = manifest["population"].get(key)
        parts.append(f"{name} {span[0]:.3g}-{span[1]:.3g}{unit}" if span else f"{name} not known")
    if aside := manifest["phase0"]["quarantined"]:
        parts.append(f"{aside} rows set aside by phase 0")
    return "population: " + ", ".join(parts)
