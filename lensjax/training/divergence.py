"""Has training diverged, though every number is finite? The loss against what it has been.

Not a stopping rule for a model that learns badly (patience is that): it fires where the loss has
left every scale on which a model learns. The loss is read where the loop waits for the device
anyhow, as the mean since the look before, so that one odd batch is not seen.

    course = Course.at(sums)
    course = course.after(sums, limit)  # at every look
    if course.diverged(limit):
        raise error(course, limit, step)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lensjax.schema import ExitCode, LensjaxError

# Nats a stamp of a model that knows nothing. The median counts as at least this: a loss of .05
# that a new masking schedule takes to .5 is no divergence.
CHANCE = math.log(2)
REMEMBERED = 100  # looks of the running median


@dataclass(frozen=True)
class Limit:
    """Diverged is a loss over `factor` times its running median for `steps` steps."""

    factor: float
    steps: int


@dataclass(frozen=True)
class Course:
    """What the loss has been, from look to look. A resumed run begins a new one."""

    loss: float  # the epoch's sum at the last look
    steps: float  # its steps
    means: tuple[float, ...] = ()  # of looks not above the limit, the latest last
    above: int = 0  # steps since the loss went above it
    loss_above: float = 0.0  # summed over these

    @classmethod
    def at(cls, sums: Mapping[str, Any]) -> Course:
        """From here on. `sums`: of the state, on the host."""
        return cls(float(sums["loss"]), float(sums["steps"]))

    @property
    def median(self) -> float:
        """The running median, nats; never below chance."""
        return max(statistics.median(self.means), CHANCE) if self.means else CHANCE

    def after(self, sums: Mapping[str, Any], limit: Limit) -> Course:
        """With what happened since the last look, if anything did."""
        now = Course.at(sums)
        loss, steps = now.loss - self.loss, now.steps - self.steps
        if not steps:
            return self
        if loss / steps > limit.factor * self.median:
            above, total = self.above + round(steps), self.loss_above + loss
            return replace(now, means=self.means, above=above, loss_above=total)
        return replace(now, means=(*self.means, loss / steps)[-REMEMBERED:])

    def epoch_ended(self) -> Course:
        """The same, the sums zeroed."""
        return replace(self, loss=0.0, steps=0.0)

    def diverged(self, limit: Limit) -> bool:
        """Has the loss been above the limit for as many steps as that takes?"""
        return self.above >= limit.steps


def error(course: Course, limit: Limit, step: int) -> LensjaxError:
    """The exit-15 error of a course that has diverged at `step`."""
    return LensjaxError(
        ExitCode.NON_FINITE,
        f"training diverged: mean loss {course.loss_above / course.above:.4g} over the last "
        f"{course.above} steps, over {limit.factor:g} x its median {course.median:.4g}",
        where=f"step {step}",
        remedy="Start over with --fresh and a lower --config.optimizer.learning_rate (what was "
        "saved is kept); --config.divergence.factor sets the limit",
    )
