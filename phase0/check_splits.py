"""Are train, val and test different galaxies on different sky?

python phase0/check_splits.py --config=FILE[:variant] | --data=ROOT
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lensjax.checks.command import main

if __name__ == "__main__":
    sys.exit(main(only=("splits",)))
