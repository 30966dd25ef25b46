"""Are all pixels of all stamps fit to train on?

python phase0/check_stamps.py --config=FILE[:variant] | --data=ROOT
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lensjax.checks.command import main

if __name__ == "__main__":
    sys.exit(main(only=("stamps",)))
