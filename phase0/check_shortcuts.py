"""Can the label be told from the survey or the metadata alone?

python phase0/check_shortcuts.py --config=FILE[:variant] | --data=ROOT
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lensjax.checks.command import main

if __name__ == "__main__":
    sys.exit(main(only=("survey_shortcut", "metadata_shortcut")))
