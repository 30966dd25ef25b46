"""Does a shortcut planted in the pixels of the lenses turn the verdict RED? Through the whole job.

Copies a user's Parquet stamps with the lensed stamp of every pair changed in its raw pixels:

    block   the central 4 x 4 pixels of each band raised by DOSE times the core's peak (r < 5 px)
    disc    the pixels r < 5 px of each band multiplied by 1 + DOSE

then runs main.py on each copy, paired and unpaired, raw_robust and residual, and prints
the core gates of each as a Markdown table (and as JSON with --json). A run that is there already
goes on, or is judged again.

    python benchmarks/planted_shortcuts.py --root=DIR --out=runs/planted --doses=0.01,0.03,0.1,0.35
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from core_gates import cell

ROOT = Path(__file__).resolve().parent.parent
BANDS = ("image_g", "image_r", "image_z")
PLANTS = ("block", "disc")
PREPROCESSING = ("raw_robust", "residual_radial_profile")
SHOWN = ("core_lr_auc", "core_lr_auc_raw", "core_only_auroc", "core_masked_drop", "auroc_test")
_OFFSET = np.arange(64) - 31.5
_CORE = np.hypot(_OFFSET[:, None], _OFFSET[None, :]) < 5.0


def plant(image: np.ndarray, kind: str, dose: float) -> np.ndarray:
    """One band, float32 [64, 64], with the shortcut in it."""
    planted = image.copy()
    if kind == "block":
        planted[30:34, 30:34] += np.float32(dose) * image[_CORE].max()
    else:
        planted[_CORE] *= np.float32(1.0 + dose)
    return planted


def plant_blob(blob: bytes, kind: str, dose: float) -> bytes:
    """A stamp_npz with the shortcut in every band."""
    with np.load(io.BytesIO(blob), allow_pickle=False) as stored:
        planted = {band: plant(stored[band], kind, dose) for band in BANDS}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **planted)
    return buffer.getvalue()


def copy_planted(source: Path, target: Path, kind: str, dose: float) -> None:
    """All Parquet files of `source` under `target`, their lensed stamps changed."""
    making = target.with_name(f".{target.name}")
    for path in sorted(source.rglob("*.parquet")):
        table = pq.read_table(path)
        column = table.schema.get_field_index("stamp_npz")
        blobs = [plant_blob(blob, kind, dose) for blob in table.column(column).to_pylist()]
        changed = table.set_column(column, "stamp_npz", pa.array(blobs, pa.binary()))
        copy = making / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(changed, copy)
    making.rename(target)  # a copy that is there is whole


def run(root: Path, workdir: Path, pairing: str, preprocessing: str, options: list[str]) -> dict:
    """main.py on `root`; its gates.json with the exit code."""
    command = [
        *(sys.executable, str(ROOT / "main.py"), "--config=configs/minimal.py:demo"),
        *(f"--workdir={workdir}", f"--config.data.root={root}"),
        *(f"--config.data.pairing={pairing}", f"--config.preprocessing.name={preprocessing}"),
        *options,
    ]
    code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
    judged = json.loads((workdir / "gates.json").read_text())
    return {"exit_code": code, **judged}


def main() -> int:
    """Plant, run, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="Parquet stamps")
    parser.add_argument("--out", type=Path, required=True, help="copies and runs")
    parser.add_argument("--doses", default="0.01,0.03,0.1,0.35")
    parser.add_argument("--plants", default=",".join(PLANTS))
    parser.add_argument("--pairings", default="paired,unpaired")
    parser.add_argument("--preprocessings", default=",".join(PREPROCESSING))
    parser.add_argument("--json", type=Path, help="write the rows here too")
    flags, options = parser.parse_known_args()
    doses = [float(dose) for dose in flags.doses.split(",")]
    roots = {("none", 0.0): flags.root}
    for kind, dose in itertools.product(flags.plants.split(","), doses):
        copy = flags.out / "data" / f"{kind}-{dose:g}"
        if not copy.is_dir():
            copy_planted(flags.root, copy, kind, dose)
        roots[kind, dose] = copy
    rows = []
    print("| plant | dose | pairs | preprocessing |", " | ".join(SHOWN), "| verdict | exit |")
    print("|---" * (len(SHOWN) + 6) + "|")
    kinds = itertools.product(flags.pairings.split(","), flags.preprocessings.split(","))
    for (pairing, name), ((kind, dose), root) in itertools.product(kinds, roots.items()):
        workdir = flags.out / f"{kind}-{dose:g}-{pairing}-{name}"
        found = run(root, workdir, pairing, name, options)
        rows.append(
            {"plant": kind, "dose": dose, "pairing": pairing, "preprocessing": name, **found}
        )
        cells = [cell(found["gates"][gate]) if found["gates"] else "-" for gate in SHOWN]
        shown = " | ".join(cells)  # no gates: phase 0 refused the data
        tail = f"{found['verdict']} | {found['exit_code']}"
        print(f"| {kind} | {dose:g} | {pairing} | {name} | {shown} | {tail} |", flush=True)
    if flags.json:
        flags.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
