"""The prior from finished runs: planted gains come back, and go with the size."""

import numpy as np
import pytest

from tsl_jax.temporal import ForecastPrior, MemoryLaw, default_prior, history, prior_from_runs, schedule_from_rates
from tsl_jax.temporal.forecasts.prior import _law_weights, _OfSize
from tsl_jax.temporal.forecasts.rows import log_weights
from tsl_jax.temporal.forecasts.trends import TrendSpread, trend

STEP = np.arange(200, 4001, 100)
SHAPE = {"fast_memory": 40.0, "slow_memory": 150.0, "fast_fraction": 0.6}


def finished(gain, size=None, floor=2.5):
    """Two runs, one steady and one with a late fall, of the memory law with the excess not growing with the base."""
    runs, count = [], np.arange(4000)
    for final in (1.0, 0.1):
        rates = 1e-3 * np.minimum((count + 1) / 100, 1) * np.where(count < 2000, 1.0, final)
        law, seen = MemoryLaw(0.0), history(schedule_from_rates(rates), STEP)
        loss = law.predict(SHAPE | {"floor": floor, "coefficient": 0.6, "exponent": 0.5, "excess": gain / 1e-3}, seen)
        runs.append({"step": STEP, "loss": np.asarray(loss, float), "learning_rate": rates, "size": size})
    return runs


@pytest.fixture(scope="module")
def of_two_sizes(optimised):
    return finished(0.10, 1e7) + finished(0.20, 4e7)


def test_the_gain_has_the_trend_of_the_sizes(of_two_sizes):
    small, large, beyond = (prior_from_runs(of_two_sizes, size=size) for size in (1e7, 4e7, 1.6e8))
    # To within the laws' doubt of where a slow fall ends.
    assert small.gain == pytest.approx(0.10, rel=0.4)
    assert large.gain == pytest.approx(0.20, rel=0.4)
    assert 1.25 < large.gain / small.gain < 2.5
    assert 1.25 < beyond.gain / large.gain < 2.5
    assert beyond.gain_std / beyond.gain > 1.5 * large.gain_std / large.gain
    assert abs(np.log(large.exponent / 0.5)) < 3 * large.exponent_std
    unknown = prior_from_runs(of_two_sizes)
    assert small.gain < unknown.gain < large.gain
    assert unknown.gain_std / unknown.gain > large.gain_std / large.gain
    assert unknown.shapes is not None
    assert [law for law, _ in unknown.shapes] == ["memory law", "multi-power law"]


def test_the_law_that_predicts_runs_left_out_counts_more(of_two_sizes):
    prior = prior_from_runs(of_two_sizes)
    weights = dict(prior.law_weights)
    assert sum(weights.values()) == pytest.approx(1)
    errors = {"memory law": np.array([1e-6, 3e-6]), "multi-power law": np.array([4e-6, 12e-6])}
    assert dict(_law_weights([_OfSize({}, {}, errors)])) == pytest.approx({"memory law": 0.8, "multi-power law": 0.2})
    assert prior_from_runs(of_two_sizes[:1]).law_weights is None
    names, own = (
        ("step power law", "memory law"),
        ForecastPrior(law_weights=(("memory law", 0.9), ("multi-power law", 0.1))),
    )
    np.testing.assert_allclose(np.exp(log_weights(names, own)), [0.005, 0.99 * 0.9])


def test_one_size_says_nothing_of_others_but_how_far_they_are(of_two_sizes):
    here, far = (prior_from_runs(of_two_sizes[:2], size=size) for size in (1e7, 1e9))
    assert far.gain == pytest.approx(here.gain)
    assert far.gain_std > 3 * here.gain_std


def test_a_trend_is_the_posterior_of_a_line():
    """Against the same normal distributions on a grid."""
    x, values = np.array([-0.7, 0.7]), np.array([[-2.2, 0.01], [-1.9, 0.02]])
    level, slope = np.meshgrid(np.linspace(-5, 1, 1201), np.linspace(-2, 2, 801), indexing="ij")
    log = -0.5 * ((level + 2) / 0.5) ** 2 - 0.5 * (slope / 0.3) ** 2
    for place, (value, variance) in zip(x, values, strict=True):
        log = log - 0.5 * (value - level - slope * place) ** 2 / (variance + 0.01)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    there = level + 1.5 * slope
    mean = np.sum(weight * there)
    std = np.sqrt(np.sum(weight * (there - mean) ** 2) + 0.01)
    np.testing.assert_allclose(trend(x, values, -2.0, 1.5, TrendSpread(0.5, 0.3, 0.1)), (mean, std), rtol=1e-3)


def test_the_default_goes_with_the_size():
    assert default_prior() == ForecastPrior()
    assert default_prior(5e7).gain == pytest.approx(ForecastPrior().gain)
    assert default_prior(1e6).gain < default_prior(1e9).gain
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="size"):
            default_prior(bad)
    with pytest.raises(ValueError, match="at least one finished run"):
        prior_from_runs([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": None}, r"runs\[1\]: has no 'loss', expected the steps and losses"),
        ({"loss": np.full(40, np.nan)}, r"runs\[1\]: loss: row 0 is nan"),
        ({"step": np.zeros(0), "loss": np.zeros(0)}, r"runs\[1\]: "),
    ],
)
@pytest.mark.parametrize("rates", [{}, {"learning_rate": np.ones(2000)}])
def test_a_run_that_says_nothing_is_named(change, words, rates):
    step = np.arange(50.0, 2001.0, 50.0)
    run = {"step": step, "loss": 3 + 20 * step**-0.5, **rates}
    with pytest.raises(ValueError, match=words):
        prior_from_runs([run, run | change])
