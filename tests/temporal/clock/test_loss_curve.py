"""Loss curves: what they give to laws, and what they refuse."""

import jax
import numpy as np
import pytest

from tsl_jax.temporal import history, loss_curve, schedule_from_rates

STEP, LOSS, RATE = np.array([100, 200, 400]), np.array([5.0, 4.0, 3.5]), np.array([1e-3, 1e-3, 5e-4])


def test_a_curve_gives_its_schedule_and_history():
    curve = loss_curve(STEP, LOSS, RATE)
    schedule = curve.schedule(warmup_steps=100)
    assert schedule.num_steps == 400
    assert schedule.learning_rate[50] == pytest.approx(5e-4)
    recorded = curve.history(warmup_steps=100)
    given = curve.history(schedule)
    for one, other in zip(jax.tree.leaves(recorded), jax.tree.leaves(given), strict=True):
        np.testing.assert_array_equal(one, other)
    other_run = schedule_from_rates(np.full(400, 0.1))
    np.testing.assert_allclose(curve.history(other_run).dynamic_time, history(other_run, STEP).dynamic_time)


def test_the_first_rows_are_a_curve_too():
    part = loss_curve(STEP, LOSS, RATE).until(250)
    np.testing.assert_array_equal(part.step, [100, 200])
    np.testing.assert_array_equal(part.learning_rate, RATE[:2])
    assert loss_curve(STEP, LOSS).until(100).learning_rate is None


def test_curves_are_pytrees():
    doubled = jax.tree.map(lambda leaf: 2 * leaf, loss_curve(STEP, LOSS))
    np.testing.assert_array_equal(doubled.loss, 2 * LOSS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((STEP, LOSS[:2]), "loss: got shape"),
        ((STEP, LOSS, RATE[:2]), "learning_rate: got shape"),
        ((STEP, np.array([5.0, np.nan, 4.0])), "loss: got nan in row 1"),
        ((STEP, np.array([5.0, -1.0, 4.0])), "positive finite loss"),
        ((STEP, LOSS, np.array([1e-3, np.inf, 0.0])), "learning_rate: got inf in row 1"),
        ((np.array([100, 100, 200]), LOSS), "100 twice"),
        ((np.array([200, 100, 300]), LOSS), "sort the rows"),
        (([], []), "at least one"),
    ],
)
def test_bad_curves_say_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        loss_curve(*arguments)


def test_a_curve_without_rates_asks_for_the_schedule():
    with pytest.raises(ValueError, match="give the schedule"):
        loss_curve(STEP, LOSS).history()
