"""The growth exponent against scipy's line, with honest errors."""

import jax
import numpy as np
import pytest
import scipy.signal
import scipy.stats

from tsl_jax.temporal import growth_exponent

TAU = np.geomspace(0.1, 10.0, 60)


def test_it_is_scipys_line_through_logarithms():
    spread = 2.0 * TAU**0.3 * np.exp(0.05 * np.random.default_rng(0).normal(size=60))
    line, growth = scipy.stats.linregress(np.log(TAU), np.log(spread)), growth_exponent(TAU, spread)
    assert float(growth.exponent) == pytest.approx(line.slope, rel=1e-4)
    assert float(growth.coefficient) == pytest.approx(np.exp(line.intercept), rel=1e-4)
    assert line.stderr * 0.99 < float(growth.exponent_stderr) < 1.5 * line.stderr


def test_its_error_is_honest():
    spread = 2.0 * TAU**0.3 * np.exp(0.05 * np.random.default_rng(1).normal(size=(400, 60)))
    growth = jax.vmap(lambda values: growth_exponent(TAU, values))(spread)
    z = (np.asarray(growth.exponent) - 0.3) / np.asarray(growth.exponent_stderr)
    assert abs(z.mean()) < 0.2
    assert 0.8 < z.std() < 1.1


def test_its_interval_knows_slow_wander_under_white_noise():
    """Lag-1 correlation alone sees little of it."""
    rng = np.random.default_rng(2)
    shocks = rng.normal(size=(400, 120)) * 0.02 * np.sqrt(1 - 0.95**2)
    wander = scipy.signal.lfilter([1.0], [1.0, -0.95], shocks, axis=1)[:, 60:]
    spread = 2.0 * TAU**0.3 * np.exp(wander + 0.05 * rng.normal(size=(400, 60)))
    growth = jax.vmap(lambda values: growth_exponent(TAU, values))(spread)
    inside = np.mean((np.asarray(growth.exponent_lower) < 0.3) & (np.asarray(growth.exponent_upper) > 0.3))
    by_lag = np.abs(np.asarray(growth.exponent) - 0.3) < 1.96 * np.asarray(growth.exponent_stderr)
    assert 0.88 < inside < 1  # 0.91 of 300 others
    assert inside > by_lag.mean() + 0.08


@pytest.mark.parametrize(
    ("axis", "spread", "message"),
    [
        (TAU[:2], TAU[:2], "at least 3"),
        (TAU, TAU[:-1], "got shapes"),
        (TAU - TAU[0], TAU, "axis: expected positive"),
        (TAU, np.where(TAU > 1, np.nan, TAU), "spread: expected positive"),
    ],
)
def test_bad_input_says_what_to_do(axis, spread, message):
    with pytest.raises(ValueError, match=message):
        growth_exponent(axis, spread)
