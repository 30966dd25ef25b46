"""All data checks, before every run: may a model be trained on these stamps?

    python phase0/run_all.py --config=FILE[:variant] [--config.KEY=VALUE ...] [--out=FILE]
    python phase0/run_all.py --data=ROOT --anchors=FILE --contaminants=FILE

Prints a table and writes phase0_summary.json. Exit: 0, 10, 11, 12 or 17.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lensjax.checks.command import main

if __name__ == "__main__":
    sys.exit(main(out="phase0_summary.json"))
