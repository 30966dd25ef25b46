"""The core gates of several runs side by side, as a Markdown table: of the data, of the raw data,
of the model.

Not `lensjax.gates compare`: no paired differences, just the runs' own gates.json.

    python benchmarks/core_gates.py runs/a1 runs/b1 runs/a1_raw runs/b1_raw
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

GATES = (
    "auroc_test",
    "core_lr_auc",
    "core_lr_auc_r5",
    "core_lr_auc_raw",
    "core_only_auroc",
    "core_masked_drop",
    "core_reliance",
)


def cell(gate: dict) -> str:
    """Value, 95 % interval and verdict."""
    if gate["value"] is None:
        return gate["verdict"]
    low, high = gate["ci"]
    return f"{gate['value']:.3f} [{low:.3f}, {high:.3f}] {gate['verdict']}"


def main(workdirs: list[str]) -> int:
    """One column a run."""
    runs = []
    for workdir in map(Path, workdirs):
        judged = json.loads((workdir / "gates.json").read_text())
        manifest = json.loads((workdir / "eval/manifest.json").read_text())
        runs.append((workdir.name, manifest, judged))
    print("| |", " | ".join(name for name, _, _ in runs), "|")
    print("|---" * (len(runs) + 1) + "|")
    for key in ("mode", "preprocessing"):
        print(f"| {key} |", " | ".join(str(manifest[key]) for _, manifest, _ in runs), "|")
    for gate in GATES:
        print(f"| `{gate}` |", " | ".join(cell(judged["gates"][gate]) for *_, judged in runs), "|")
    print("| verdict |", " | ".join(judged["verdict"] for *_, judged in runs), "|")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
