"""Leave-one-run-out against fits made one by one."""

import numpy as np
import pytest
from planted_runs import planted

from tsl_jax.temporal import AnnealingLaw, LawFitOptions, TimePowerLaw, fit_law, held_out_error, leave_one_run_out

ONE_START = LawFitOptions(starts=1)


def test_every_run_is_predicted_from_the_others():
    law = AnnealingLaw()
    seen, losses, run, _ = planted(law, noise=2e-3)
    shrinkage = np.stack([law.shrinkage(0.003), law.shrinkage(0.3)])
    predicted = leave_one_run_out(law, seen, losses, run, shrinkage=shrinkage, options=ONE_START)
    assert predicted.shape == (2, len(losses))
    kept = run != 2
    apart = fit_law(law, seen[kept], losses[kept], shrinkage=shrinkage[0], options=ONE_START).predict(seen[~kept])
    np.testing.assert_allclose(predicted[0, ~kept], apart, rtol=1e-4)
    # What is left out has no say: changing it changes other runs' predictions only.
    changed = np.where(kept, losses, losses * 1.02)
    again = leave_one_run_out(law, seen, changed, run, shrinkage=shrinkage, options=ONE_START)
    np.testing.assert_allclose(again[:, ~kept], predicted[:, ~kept], rtol=1e-6)
    assert np.abs(np.asarray(again - predicted)[:, kept]).max() > 1e-3


def test_runs_of_the_law_are_predicted_to_within_their_noise():
    law = TimePowerLaw()
    seen, losses, run, _ = planted(law, noise=2e-3)
    errors = held_out_error(leave_one_run_out(law, seen, losses, run), losses, run)
    assert errors.shape == (1, 3)
    assert np.all(errors < 2e-3 * losses.mean())


def test_held_out_error_is_the_mean_of_each_run():
    rng = np.random.default_rng(0)
    predicted, loss, run = rng.normal(size=(2, 3, 20)), rng.normal(size=20), rng.permutation(np.arange(20) % 3)
    errors = held_out_error(predicted, loss, run)
    for number in range(3):
        expected = np.abs(predicted - loss)[..., run == number].mean(axis=-1)
        np.testing.assert_allclose(errors[..., number], expected)


@pytest.mark.parametrize("numbers", [lambda run: 0 * run, lambda run: run + 1, lambda run: run[:-1]])
def test_runs_must_be_numbered(numbers):
    seen, losses, run, _ = planted(TimePowerLaw())
    with pytest.raises(ValueError, match="run: got shape"):
        leave_one_run_out(TimePowerLaw(), seen, losses, numbers(run))


def test_bad_shapes_and_losses_are_refused():
    seen, losses, run, _ = planted(TimePowerLaw())
    with pytest.raises(ValueError, match="predicted, loss, run"):
        held_out_error(losses[:-1], losses, run)
    with pytest.raises(ValueError, match="got nan in row 0"):
        leave_one_run_out(TimePowerLaw(), seen, np.where(np.arange(len(losses)), losses, np.nan), run)
