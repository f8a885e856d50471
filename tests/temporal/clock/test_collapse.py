"""Collapse on one curve: planted spreads, and dynamic time against steps."""

import numpy as np
import pytest
from planted_runs import RATES

from tsl_jax.temporal import collapse, lr_sum, schedule_from_rates

STEPS = np.arange(50, 2001, 10)
TAUS = [np.asarray(lr_sum(schedule_from_rates(rates), STEPS)) for rates in RATES]


def losses_of(taus, offsets=(0.0, 0.0, 0.0), noise=0.0):
    rng = np.random.default_rng(0)
    return [
        0.5 * tau**-0.4 + 2.0 + offset + noise * rng.normal(size=len(tau))
        for tau, offset in zip(taus, offsets, strict=True)
    ]


def test_one_law_in_dynamic_time_collapses_there_and_not_in_steps():
    losses = losses_of(TAUS)
    time, steps = collapse(TAUS, losses), collapse([STEPS] * 3, losses)
    assert float(time.spread) < 1e-3  # the straight pieces between knots
    assert float(steps.spread) > 20 * float(time.spread)
    assert float(time.unexplained) < 1e-4
    np.testing.assert_allclose(np.interp(1.0, time.knots, time.curve), 2.5, atol=3e-3)


def test_the_spread_is_the_noise_and_the_distance_between_runs():
    noisy = collapse(TAUS, losses_of(TAUS, noise=0.01))
    assert float(noisy.spread) == pytest.approx(0.01, rel=0.1)
    apart = collapse([STEPS, STEPS], [3.0 - 1e-4 * STEPS, 3.2 - 1e-4 * STEPS])
    assert float(apart.spread) == pytest.approx(0.1, rel=1e-3)
    np.testing.assert_allclose(apart.bias, [-0.1, 0.1], rtol=1e-3)
    variance = np.var(np.concatenate([3.0 - 1e-4 * STEPS, 3.2 - 1e-4 * STEPS]))
    assert float(apart.unexplained) == pytest.approx(0.01 / variance, rel=1e-2)


def test_only_the_shared_part_counts_and_runs_count_the_same():
    short, long = np.arange(100.0, 400.0, 10.0), np.arange(200.0, 2000.0, 1.0)
    shared = collapse([short, long], [1 / short, 1 / long])
    assert list(shared.num_points) == [np.sum(short >= 200), np.sum(long <= 390)]
    # A run with ten times the rows pulls the curve no harder.
    np.testing.assert_allclose(collapse([short, long], [0 * short, 0 * long + 1.0]).bias, [-0.5, 0.5], atol=0.02)


@pytest.mark.parametrize(
    ("axes", "losses", "message"),
    [
        ([STEPS], [STEPS], "2 runs or more"),
        ([STEPS, STEPS], [STEPS], "got 2 axes and 1 losses"),
        ([STEPS, STEPS[:-1]], [STEPS, STEPS], r"axes\[1\], losses\[1\]: got shapes"),
        ([STEPS, STEPS - 50], [STEPS, STEPS], "positive axis"),
        ([STEPS, STEPS], [STEPS, STEPS * np.nan], "finite values"),
        ([STEPS, STEPS + 5000], [STEPS, STEPS], "0 rows between"),
    ],
)
def test_bad_input_says_what_to_do(axes, losses, message):
    with pytest.raises(ValueError, match=message):
        collapse(axes, losses)
