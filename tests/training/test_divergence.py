"""A loss that has left every scale on which a model learns; and that sound training never has."""

import math

import numpy as np
import pytest

from configs import common
from lensjax.schema import ExitCode
from lensjax.training.divergence import CHANCE, Course, Limit, error

LIMIT = Limit(10.0, 60)
EVERY = 20  # steps between looks
# train_loss of ten epochs of 62 steps, as logged: the demo of b3, and that with the highest first
# epoch of all that were looked at (89 runs).
DEMO = [1.307, 0.830, 0.717, 0.613, 0.532, 0.475, 0.403, 0.363, 0.346, 0.338]
WORST = [1.760, 0.801, 0.672, 0.603, 0.514, 0.479, 0.423, 0.389, 0.370, 0.359]


def followed(losses, limit=LIMIT, epoch=62):
    """The course over `losses`, one a step, looked at as the loop does; the step at which it has
    diverged, or None."""
    course, total = Course(0.0, 0.0), 0.0
    for step, loss in enumerate(losses, 1):
        total += loss
        at_end = step % epoch == 0
        if at_end or step % EVERY == 0:
            done = (step - 1) % epoch + 1
            course = course.after({"loss": total, "steps": done}, limit)
            if course.diverged(limit):
                return course, step
        if at_end:
            course, total = course.epoch_ended(), 0.0
    return course, None


def noisy(epochs, spread, seed):
    """Losses a step around those of epochs, the first 20 steps half above their mean, spread
    log-normally for batches and their augmentation."""
    draw = np.random.default_rng(seed)
    mean = np.repeat(epochs, 62)
    mean[:20] *= 1.5
    return mean * np.exp(spread * draw.standard_normal(len(mean)))


@pytest.mark.proves("N3")
@pytest.mark.parametrize("epochs", [DEMO, WORST])
@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_it_never_fires_on_the_demo(epochs, spread):
    for seed in range(20):
        course, step = followed(noisy(epochs, spread, seed))
        assert step is None and course.above == 0


@pytest.mark.proves("N3")
@pytest.mark.parametrize("begins", [0, 1, 300])
def test_it_fires_on_a_loss_without_bound(begins):
    losses = noisy(DEMO, 0.1, 0)
    losses[begins:] = 1e6
    course, step = followed(losses)
    assert step is not None and step - begins <= LIMIT.steps + EVERY
    told = error(course, LIMIT, step)
    assert told.code == ExitCode.NON_FINITE == 15
    assert f"mean loss {course.loss_above / course.above:.4g} over" in told.what
    assert course.loss_above > 9e5 * course.above
    assert f"over 10 x its median {course.median:.4g}" in told.what


def test_the_config_has_this_limit():
    found = common.experiment("b3", "demo").divergence
    assert Limit(found.factor, found.steps) == LIMIT


def test_what_is_above_does_not_move_the_median_and_one_look_below_ends_it():
    losses = [1.0] * 40 + [50.0] * 40 + [1.0] * 20
    course, step = followed(losses, epoch=1000)
    assert step is None and course.above == 0 and course.median == 1.0
    course, step = followed(losses[:80], epoch=1000)
    assert course.above == 40 and course.loss_above == 40 * 50.0 and course.median == 1.0


def test_a_small_loss_that_rises_to_that_of_chance_is_none():
    """A new masking schedule on a model that was sure of everything."""
    course, step = followed([0.005] * 200 + [0.9] * 200, epoch=1000)
    assert step is None and course.above == 0
    assert Course(0.0, 0.0, (0.005,)).median == CHANCE == math.log(2)


def test_a_look_without_a_step_changes_nothing():
    course = Course(5.0, 5.0, (1.0,))
    assert course.after({"loss": 5.0, "steps": 5.0}, LIMIT) is course
