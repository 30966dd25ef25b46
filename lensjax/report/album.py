"""The pictures of one report: saved for a paper, and embedded in the page.

album = Album(Path("runs/b3/figures"))
html = album.add("roc", figure, alt="ROC curve", caption="True against false positives.")
album.remove_stale()
"""

from __future__ import annotations

import base64
from pathlib import Path

from matplotlib.figure import Figure

from lensjax.report import style
from lensjax.report.markup import Html, tag

# Every figure a report can draw: those of an earlier report that this one cannot draw are removed,
# so that no figure outlives the arrays it shows.
CURVES = (
    "training_loss",
    "training_auroc",
    "training_rates",
    "roc",
    "roc_log_fpr",
    "scores_by_class",
    "scores_by_kind",
    "core_reliance",
    "gates",
    "hard_negatives",
    "strata",
    "selection_axes",
    "selection_planes",
    "selection_cells",
    "calibration",
    "ranking",
    "hunter",
    "hunter_features",
    "saliency_profiles",
)
GROUPS = ("missed_lens", "false_alarm", "confident_lens", "confident_negative")
SHEETS = ("saliency_examples", *(f"examples_{group}" for group in GROUPS))
NAMES = (*CURVES, *SHEETS)


class Album:
    """Where figures are saved; remembers which were."""

    def __init__(self, directory: Path):
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._saved: set[str] = set()

    def save(self, name: str, figure: Figure) -> bytes:
        """Write NAME.png and NAME.pdf; returns the PNG.

        Raises:
            KeyError: `name` is not in NAMES, and would never be removed when stale.
        """
        if name not in NAMES:
            raise KeyError(name)
        picture = style.save(figure, self._directory, name)
        self._saved.add(name)
        return picture

    def add(self, name: str, figure: Figure, alt: str, caption: object) -> Html:
        """Save the figure; returns it embedded, with its caption and file name."""
        picture = self.save(name, figure)
        where = tag("span", f"figures/{name}.png, .pdf", class_="file")
        return tag(
            "figure", image(picture, alt), tag("figcaption", caption, " ", where), id=f"fig-{name}"
        )

    def remove_stale(self) -> None:
        """Remove figures of an earlier report that this one did not draw."""
        for name in set(NAMES) - self._saved:
            for suffix in (".png", ".pdf"):
                (self._directory / f"{name}{suffix}").unlink(missing_ok=True)


def image(picture: bytes, alt: str) -> Html:
    """A PNG inside the page itself."""
    data = base64.b64encode(picture).decode()
    return tag("img", src=Html(f"data:image/png;base64,{data}"), alt=alt)
