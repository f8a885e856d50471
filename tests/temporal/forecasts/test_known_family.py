"""The prior from finished runs without learning rates: planted shapes come back, and forecasts gain by them."""

import dataclasses

import numpy as np
import pytest

from tsl_jax.temporal import ForecastPrior, forecast, prior_from_runs
from tsl_jax.temporal.forecasts.family_course import family_clock, family_log_clock, fitted_course
from tsl_jax.temporal.forecasts.trends import TrendSpread, trend_weights

STEP = np.arange(500.0, 25_001.0, 500.0)
SIZES = 1e8 * np.array([0.5, 1.0, 1.0, 2.0, 2.0, 5.0, 10.0, 10.0])
#: How far the exponents of planted runs scatter, in their logarithm, and the noise of their losses, nat.
SCATTER, NOISE = 0.06, 2e-3


def course(size, step=STEP, exponent=1.0, height=1.0):
    """A loss that is no power law: steep at the beginning, and flatter for larger models."""
    late = 0.42 * (size / 2e8) ** -0.05 * exponent
    return 3.2 * (size / 1e8) ** -0.06 + height * (0.6 * (step / 5e3) ** -late + 0.05 * (step / 2e3) ** -1.8)


def planted(size, random):
    """A run of the family with noise, and the truth."""
    exponent, height = np.exp(random.normal(0, [SCATTER, 0.1]))
    truth = course(size, exponent=exponent, height=height)
    return {"step": STEP, "loss": truth + random.normal(0, NOISE, len(STEP)), "size": size}, truth


@pytest.fixture(scope="module")
def family():
    random = np.random.default_rng(0)
    return [planted(size, random)[0] for size in SIZES]


@pytest.fixture(scope="module")
def prior(family):
    return prior_from_runs(family, size=3e8)


def test_a_course_is_the_sum_of_power_laws_that_was_planted():
    x = np.log(STEP)
    found = fitted_course(STEP, course(2e8))
    slope = 0.6 * 0.42 * (STEP / 5e3) ** -0.42 + 0.05 * 1.8 * (STEP / 2e3) ** -1.8
    np.testing.assert_allclose(found.log_slope(x), np.log(slope), atol=0.03)
    assert found.exponent(x[-1]) == pytest.approx(0.42, abs=0.03)
    alone = fitted_course(STEP, 3 + 20 * STEP**-0.5)
    assert alone.exponent(x[10]) == pytest.approx(0.5, abs=0.05)
    assert np.all(np.isfinite(fitted_course(STEP, np.full(len(STEP), 3.0)).log_slope(x)))


def test_in_its_clock_the_course_is_a_power_law():
    courses = [fitted_course(STEP, course(2e8, height=height)) for height in (0.7, 1.0, 1.4)]
    clock = family_clock(courses, np.full(3, 1 / 3))
    fall = np.exp(-clock.exponent * family_log_clock(np.log(STEP), clock.pairs))
    left = np.polyfit(fall, course(2e8), 1, full=True)[1]
    plain = np.polyfit(STEP**-clock.exponent, course(2e8), 1, full=True)[1]
    assert np.sqrt(left[0] / len(STEP)) < 1e-3
    assert np.sqrt(plain[0] / len(STEP)) > 5e-3
    assert np.all(np.diff(clock.log_clock) > 0)


def test_the_clock_goes_on_beyond_its_points():
    assert family_log_clock(np.array([1.0, 2.0]), None).tolist() == [1.0, 2.0]
    pairs = ((1.0, 0.0), (2.0, 2.0), (3.0, 3.0))
    found = family_log_clock(np.array([0.0, 1.5, 3.0, 5.0]), pairs)
    assert found.tolist() == [-2.0, 1.0, 3.0, 5.0]


def test_weights_are_those_of_a_line_whose_slope_is_shrunk():
    place, spread = np.array([0.0, 1.0, 1.5, 4.0]), TrendSpread(9.0, 0.2, 0.3)
    values = np.array([0.3, -0.2, 0.5, 1.1])
    off = place - place.mean()
    # Least squares with one more row, which draws the slope to 0.
    rows = np.r_[np.stack([np.ones(4), off], axis=1), [[0, spread.off / spread.slope]]]
    line = np.linalg.lstsq(rows, np.r_[values, 0], rcond=None)[0]
    weight = trend_weights(place, 2.0, spread)
    assert weight.sum() == pytest.approx(1)
    assert weight @ values == pytest.approx(line @ [1, 2.0 - place.mean()])
    far, edge = (trend_weights(place, at, spread) for at in (50.0, 5.0))
    np.testing.assert_allclose(far, edge)


def test_known_runs_say_how_far_another_may_be_off(prior):
    assert prior.exponent_std < ForecastPrior().exponent_std
    assert prior.transient < ForecastPrior().transient
    assert prior.exponent == pytest.approx(0.42 * 1.5**-0.05, rel=0.15)
    assert 0.4 < prior.kept < 1.2
    assert prior.gain == ForecastPrior().gain


def test_forecasts_gain_by_the_family_and_bands_hold_the_truth(prior):
    """20 new runs of a size that no known run has, from a tenth and a fifth of their training."""
    random = np.random.default_rng(1)
    for seen, gains in ((5, 0.3), (10, 0.6)):
        square, inside = [], []
        for _ in range(20):
            run, truth = planted(3e8, random)
            young = STEP[:seen], run["loss"][:seen], STEP[seen:]
            found = forecast(*young, prior=prior)
            square.append([np.mean(np.square(each.mean - truth[seen:])) for each in (found, forecast(*young))])
            inside.append((found.lower[:, -1] <= truth[-1]) & (truth[-1] <= found.upper[:, -1]))
        own, default = np.mean(square, axis=0)
        assert own < gains * default
        half, most = np.sum(inside, axis=0)
        # Of 20 runs, 5 or fewer lie inside a true 50% band with a chance of 2%, as do 15 or more; 14 or fewer inside a
        # true 90% band with a chance of 1%.
        assert 5 < half < 15
        assert most > 14


def test_a_family_of_few_runs_says_its_shape_alone(family):
    few = prior_from_runs(family[:3], size=1e8)
    assert few.clock is not None
    kept = [field.name for field in dataclasses.fields(few) if field.name not in ("clock", "exponent")]
    assert all(getattr(few, name) == getattr(ForecastPrior(), name) for name in kept)
    assert prior_from_runs(family[:1]).clock is not None


def test_a_size_far_from_all_known_is_less_certain(family):
    near, far = (prior_from_runs(family[:3], size=size) for size in (1e8, 1e11))
    assert far.exponent_std == pytest.approx(np.hypot(near.exponent_std, 0.1 * np.log(1e11 / 1e8)))


def test_dynamic_time_is_read_from_the_familys_clock_too(prior):
    """At a constant rate it is the step."""
    run, _ = planted(3e8, np.random.default_rng(2))
    young = STEP[:10], run["loss"][:10], STEP[10:]
    rates = np.full(25_000, 1e-3)
    by_step, by_time = (
        forecast(*young, prior=prior, learning_rate=rates, laws=(law,)) for law in ("step power law", "time power law")
    )
    np.testing.assert_allclose(by_time.paths, by_step.paths, atol=1e-6)


def test_runs_with_rates_and_without_are_not_mixed(family):
    rated = dict(family[0], learning_rate=np.full(25_000, 1e-3))
    with pytest.raises(ValueError, match=r"runs\[1\]: has no learning rates but others have"):
        prior_from_runs([rated, family[1]])


def test_runs_of_few_rows_and_ones_that_begin_by_rising_are_borne(family):
    """What cannot be forecast judges nothing."""
    short = [{"step": run["step"][::20], "loss": run["loss"][::20], "size": run["size"]} for run in family[:4]]
    assert prior_from_runs(short).kept == ForecastPrior().kept
    rising = [dict(run, loss=np.r_[run["loss"][4:0:-1], run["loss"][4:]][: len(STEP)]) for run in family[:4]]
    found = prior_from_runs(rising, size=1e8)
    assert np.isfinite([found.kept, found.exponent, found.exponent_std, found.drift]).all()


@pytest.mark.parametrize(
    "clock", [((1.0, 1.0),), ((2.0, 1.0), (1.0, 2.0)), ((0.0, 0.0), (1.0, np.nan)), ((1.0, 2.0, 3.0),)]
)
def test_a_clock_that_does_not_go_on_is_refused(clock):
    with pytest.raises(ValueError, match=r"ForecastPrior\.clock: got .*expected two or more pairs"):
        ForecastPrior(clock=clock)
