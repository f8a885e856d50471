"""Fits of the schedule laws: planted truth, honest errors, scipy, shrinkage, weights, bad input."""

import functools

import jax
import numpy as np
import pytest
import scipy.optimize
from planted_runs import RATES, planted

from tsl_jax.fitting import Status
from tsl_jax.temporal import (
    AnnealingLaw,
    LawFitOptions,
    MemoryLaw,
    MultiPowerLaw,
    StepPowerLaw,
    TimePowerLaw,
    fit_law,
    history,
    schedule_from_rates,
)

ONE_START = LawFitOptions(starts=1)
NOISE = 3e-4


def fitted(law, seen, losses, strength=0.0):
    """A fit compiled once a law and shape, whatever its shrinkage."""
    return fit_law(law, seen, losses, shrinkage=law.shrinkage(strength), options=ONE_START)


# Planted truth


@pytest.mark.parametrize("law", [AnnealingLaw(), MultiPowerLaw(), MultiPowerLaw(4.0), MemoryLaw()], ids=repr)
def test_parameters_come_back_from_losses_without_noise(law):
    seen, losses, _, truth = planted(law)
    fit = fit_law(law, seen, losses)
    assert fit.status == Status.CONVERGED
    for name, value in truth.items():
        # Slowness, speed and rate_exponent of the multi-power law trade off: float32 losses fix them to a percent.
        assert float(fit.params[name]) == pytest.approx(value, rel=2e-2), name
    np.testing.assert_allclose(fit.predict(seen), losses, rtol=1e-5)
    assert fit.noise < 1e-5


@functools.cache
def many_noisy_fits():
    """The annealing law fitted to 200 noise realisations of three runs; residuals small enough for linear errors."""
    law = AnnealingLaw()
    seen, losses, _, truth = planted(law, noise=NOISE, number=200)
    fits = jax.jit(jax.vmap(lambda loss: fitted(law, seen, loss)))(losses)
    return law, seen, fits, truth


def test_standard_errors_are_honest():
    law, _, fits, truth = many_noisy_fits()
    assert np.all(fits.status == Status.CONVERGED)
    for i, name in enumerate(law.names):
        # Logarithms are closer to Gaussian than the parameters themselves.
        error = np.sqrt(np.asarray(fits.covariance)[:, i, i])
        z = (np.log(np.asarray(fits.params[name])) - np.log(truth[name])) / error
        # Of 200 fits: mean within 3.5 standard errors, spread within 20% (3.5 standard errors of a spread).
        assert abs(z.mean()) < 0.25, name
        assert 0.8 < z.std() < 1.2, name
        assert 0.86 < np.mean(np.abs(z) < 1.96) <= 1, name
    assert np.mean(fits.noise) == pytest.approx(NOISE, rel=0.03)


def test_named_errors_are_those_of_the_coordinates():
    law, _, fits, _ = many_noisy_fits()
    for i, name in enumerate(law.names):
        relative = np.asarray(fits.stderr[name] / fits.params[name])
        np.testing.assert_allclose(relative, np.sqrt(np.asarray(fits.covariance)[:, i, i]), rtol=1e-3)


def test_errors_of_predictions_are_honest():
    """Also on a schedule that no run followed, 50% beyond the last step."""
    law, _, fits, truth = many_noisy_fits()
    other = np.concatenate([RATES[0], np.linspace(1e-3, 1e-4, 1000)])
    unseen = history(schedule_from_rates(other), [1500, 2000, 2500, 3000])
    exact = np.asarray(law.predict(truth, unseen))
    mean, error = jax.vmap(lambda fit: (fit.predict(unseen), fit.predict_error(unseen)))(fits)
    z = (np.asarray(mean) - exact) / np.asarray(error)
    assert np.all(np.abs(z.mean(axis=0)) < 0.3)
    assert np.all((z.std(axis=0) > 0.8) & (z.std(axis=0) < 1.2))


# Other ways to the same fit


def test_the_fit_is_scipys_fit():
    law = MemoryLaw()
    seen, losses, _, truth = planted(law, noise=2e-3, seed=3)

    def residual(coordinates):
        return np.log(losses) - np.log(np.asarray(law.predict(law.named(coordinates), seen)))

    with jax.enable_x64(True):
        start = np.asarray(law.coordinates(truth))
        best = scipy.optimize.least_squares(residual, start, x_scale="jac")
        fit = fit_law(law, seen, losses)
    assert float(fit.noise) ** 2 * (len(losses) - 7) == pytest.approx(2 * best.cost, rel=1e-6)
    error = np.sqrt(np.diag(np.asarray(fit.covariance)))
    assert np.all(np.abs(np.asarray(fit.coordinates) - best.x) < 0.02 * error)


def test_hubers_loss_is_scipys():
    law = TimePowerLaw()
    seen, losses, _, truth = planted(law, noise=1e-3, seed=1)
    losses[::7] *= 1.05  # outliers on one side

    def residual(coordinates):
        return np.log(losses) - np.log(np.asarray(law.predict(law.named(coordinates), seen)))

    with jax.enable_x64(True):
        start = np.asarray(law.coordinates(truth))
        best = scipy.optimize.least_squares(residual, start, loss="huber", f_scale=1e-3, x_scale="jac", xtol=1e-12)
        fit = fit_law(law, seen, losses, options=LawFitOptions(huber=1e-3))
    np.testing.assert_allclose(fit.coordinates, best.x, atol=2e-4)
    plain = fit_law(law, seen, losses)
    assert abs(float(fit.params["floor"]) - 2.5) < 0.2 * abs(float(plain.params["floor"]) - 2.5)


def test_batches_are_single_fits():
    law, seen, fits, _ = many_noisy_fits()
    _, losses, _, _ = planted(law, noise=NOISE, number=200)
    alone = fitted(law, seen, losses[7])
    error = np.sqrt(np.diag(np.asarray(alone.covariance)))
    assert np.all(np.abs(np.asarray(alone.coordinates) - np.asarray(fits.coordinates)[7]) < 0.02 * error)


def test_weight_zero_leaves_rows_out_whatever_their_loss():
    law = TimePowerLaw()
    seen, losses, run, _ = planted(law, noise=2e-3)
    kept = run != 1
    spoilt = np.where(kept, losses, np.nan)
    masked = fit_law(law, seen, spoilt, weights=kept.astype(float))
    tau, rows = seen.dynamic_time[kept], np.log(losses[kept])

    def log_law(_, *log_params):
        floor, coefficient, exponent = np.exp(log_params)
        return np.log(floor + coefficient * tau**-exponent)

    best, covariance = scipy.optimize.curve_fit(log_law, None, rows, p0=np.log([2.0, 1.0, 0.5]))
    error = np.sqrt(np.diag(covariance))
    assert int(masked.num_points) == kept.sum()
    assert np.all(np.abs(np.asarray(masked.coordinates) - best) < 0.02 * error)
    np.testing.assert_allclose(
        masked.covariance / np.outer(error, error), covariance / np.outer(error, error), atol=0.02
    )


def test_a_blind_law_sees_less():
    seen, losses, _, _ = planted(MultiPowerLaw())
    assert fitted(StepPowerLaw(), seen, losses).noise > 5 * fitted(AnnealingLaw(), seen, losses).noise


# Shrinkage


def test_strong_shrinkage_holds_the_simpler_law():
    law = AnnealingLaw()
    seen, losses, _, _ = planted(law, noise=2e-3)
    free, between, held = (fitted(law, seen, losses, strength) for strength in (0.0, 0.01, 100.0))
    simple = fit_law(law.without_lag(), seen, losses, options=ONE_START)
    assert float(held.params["memory"]) == pytest.approx(law.typical["memory"], rel=1e-3)
    assert float(held.params["excess"]) == pytest.approx(float(simple.params["excess"]), rel=1e-3)
    assert float(free.params["memory"]) < float(between.params["memory"]) < law.typical["memory"]


def test_shrinkage_fills_in_what_data_leave_open():
    """One smooth schedule hardly tells how fast the loss follows it."""
    law = AnnealingLaw()
    seen, losses, run, truth = planted(law, noise=2e-3, seed=1)
    losses = np.where(run == 1, losses, np.nan)

    def alone(strength):
        weights, shrinkage = (run == 1).astype(float), law.shrinkage(strength)
        return fit_law(law, seen, losses, weights=weights, shrinkage=shrinkage, options=ONE_START)

    free, shrunk = alone(0.0), alone(0.01)
    error = [abs(np.log(float(fit.params["excess"]) / truth["excess"])) for fit in (free, shrunk)]
    assert error[1] < error[0]
    assert np.sqrt(shrunk.covariance[4, 4]) < 0.5
    assert not np.sqrt(free.covariance[4, 4]) < 0.5


# Bad input


def call(**changes):
    law = AnnealingLaw()
    seen, losses, _, _ = planted(law)
    arguments = {"law": law, "history": seen, "loss": losses} | {
        name: change(losses) if callable(change) else change for name, change in changes.items()
    }
    return fit_law(arguments.pop("law"), arguments.pop("history"), arguments.pop("loss"), **arguments)


def with_value(value):
    return lambda losses: np.where(np.arange(len(losses)) == 3, value, losses)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": lambda losses: losses[:-1]}, "one a row of the history"),
        ({"loss": with_value(np.nan)}, "got nan in row 3"),
        ({"loss": with_value(0.0)}, "positive finite losses"),
        ({"loss": with_value(np.inf)}, "weight 0"),
        ({"loss": lambda losses: 10.0 - losses}, "rises from"),
        ({"weights": np.ones(3)}, "weights: got shape"),
        ({"weights": lambda losses: (np.arange(len(losses)) < 1).astype(float)}, "1 rows that count"),
    ],
)
def test_bad_input_says_what_to_do(changes, message):
    with pytest.raises(ValueError, match=message):
        call(**changes)


@pytest.mark.parametrize("options", [{"huber": 0.0}, {"starts": 0}, {"max_steps": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=rf"LawFitOptions\.{next(iter(options))}"):
        LawFitOptions(**options)
