"""Are there enough anchors and contaminants, once each?

python phase0/check_catalogues.py --config=FILE[:variant] | --data=ROOT
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lensjax.checks.command import main

if __name__ == "__main__":
    sys.exit(main(only=("anchors", "contaminants")))
