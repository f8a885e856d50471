"""The compressed schedule against the naive sum over every update."""

import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsl_jax.temporal import (
    AnnealingLaw,
    MemoryLaw,
    MultiPowerLaw,
    history,
    join_histories,
    schedule_from_optax,
    schedule_from_rates,
)

LAWS = [
    (AnnealingLaw(), {"memory": 50.0}),
    (MultiPowerLaw(), {"speed": 2.0, "slowness": 0.6, "rate_exponent": 0.6}),
    (MultiPowerLaw(), {"speed": 0.1, "slowness": 0.2, "rate_exponent": 1.2}),
    (MemoryLaw(), {"fast_memory": 5.0, "slow_memory": 800.0, "fast_fraction": 0.6}),
    (MemoryLaw(2.0, 0.0), {"fast_memory": 5.0, "slow_memory": 800.0, "fast_fraction": 0.6}),
]
COUNT = np.arange(3000)
SCHEDULES = {
    "constant": np.full(3000, 3e-4),
    "warm cosine": 3e-4 * np.minimum((COUNT + 1) / 200, 1) * (0.55 + 0.45 * np.cos(np.pi * COUNT / 3000)),
    "to zero": 3e-4 * np.maximum(1 - COUNT / 2900, 0),
    "steps": 3e-4 * 0.3 ** (COUNT // 700),
    "restarts": 3e-4 * (1 - 0.9 * (COUNT % 600) / 600),
    "random": np.random.default_rng(0).uniform(1e-4, 3e-4, 3000),
}
RATE = st.just(0.0) | st.floats(1e-9, 1)
STEPS = np.array([1, 2, 10, 199, 200, 201, 700, 701, 1500, 2899, 3000])


def naive(law, shape, rates, step):
    """``Σ_k (η_k - η_(k-1)) relaxed_k`` over every update, as written in the papers."""
    k = np.arange(1, step + 1)
    rise, updates = np.diff(rates[:step], prepend=0.0), step - k + 1
    time = np.cumsum(rates[:step][::-1])[::-1]
    if isinstance(law, AnnealingLaw):
        relaxed = 1 - np.exp(-updates / shape["memory"])
    elif isinstance(law, MemoryLaw):
        pace = np.maximum(time / updates / rates.max(), 1e-9) ** law.rate_power
        fast, slow = (np.exp(-updates * pace / shape[name]) for name in ("fast_memory", "slow_memory"))
        relaxed = 1 - shape["fast_fraction"] * fast - (1 - shape["fast_fraction"]) * slow
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(time > 0, shape["speed"] * rates[:step] ** -shape["rate_exponent"] * time, 0.0)
        relaxed = 1 - (1 + scaled) ** -shape["slowness"]
    return np.sum(rise * relaxed)


@pytest.mark.parametrize("name", SCHEDULES)
def test_groups_stand_for_every_update(name):
    rates = SCHEDULES[name]
    seen = history(schedule_from_rates(rates), STEPS)
    for law, shape in LAWS:
        exact = np.array([naive(law, shape, rates, step) for step in STEPS])
        # Random rates change by as much as they are at every update; what is left of each group is all of it.
        allowed = 2e-3 if name == "random" else 4e-4
        np.testing.assert_allclose(law.lagged_rate(shape, seen) / 3e-4, exact / 3e-4, atol=allowed)


def test_the_error_is_of_second_order():
    rates, (law, shape) = SCHEDULES["warm cosine"], LAWS[1]
    exact = np.array([naive(law, shape, rates, step) for step in STEPS])

    def error(resolution):
        seen = history(schedule_from_rates(rates), STEPS, resolution=resolution)
        return np.abs(np.asarray(law.lagged_rate(shape, seen)) - exact).max() / 3e-4

    assert error(0.5) < 0.35 * error(1.0)
    assert error(0.25) < 0.35 * error(0.5)


@settings(deadline=None, max_examples=60)
@given(st.lists(RATE, min_size=1, max_size=60).filter(any), st.floats(0.05, 2.0))
def test_changes_add_up_to_the_rate_and_groups_lie_among_their_updates(rates, resolution):
    rates = np.asarray(rates)
    steps = np.arange(1, len(rates) + 1)[np.cumsum(rates) > 0]
    seen = history(schedule_from_rates(rates), steps, resolution=resolution)
    np.testing.assert_allclose(seen.rise.sum(axis=1), rates[steps - 1], atol=1e-9)
    np.testing.assert_array_equal(seen.learning_rate, rates[steps - 1])
    np.testing.assert_allclose(seen.dynamic_time, np.cumsum(rates)[steps - 1], rtol=1e-12)
    assert np.all(np.isfinite(np.stack([seen.log_rate, seen.log_time, seen.updates])))
    assert np.all((seen.updates >= 1 - 1e-6) & (seen.updates <= steps[:, None] + 1e-6))
    assert np.all(np.exp(seen.log_rate[seen.rise != 0]) <= rates.max() * (1 + 1e-6))


def test_longer_runs_hardly_need_more_groups():
    widths = [
        history(schedule_from_optax(optax.cosine_decay_schedule(1e-3, n, 0.1), n), [n]).rise.shape[1]
        for n in (2_000, 20_000, 200_000)
    ]
    assert widths[2] < 250
    assert widths[2] - widths[1] < 40


def test_rows_do_not_know_of_each_other():
    schedule = schedule_from_rates(SCHEDULES["restarts"])
    together, (law, shape) = history(schedule, STEPS), LAWS[3]
    for i, step in list(enumerate(STEPS))[::4]:
        alone = law.lagged_rate(shape, history(schedule, [step]))
        np.testing.assert_allclose(law.lagged_rate(shape, together[i : i + 1]), alone, rtol=1e-6)


def test_joined_runs_keep_their_rows():
    runs = [history(schedule_from_rates(SCHEDULES[name]), STEPS) for name in ("constant", "random")]
    joined, (law, shape) = join_histories(runs), LAWS[1]
    assert joined.num_rows == 2 * len(STEPS)
    apart = np.concatenate([law.lagged_rate(shape, run) for run in runs])
    np.testing.assert_allclose(law.lagged_rate(shape, joined), apart, rtol=1e-6)
    np.testing.assert_array_equal(joined[len(STEPS) :].dynamic_time, runs[1].dynamic_time)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: history(s, [0, 5]), "leave the loss before training out"),
        (lambda s: history(schedule_from_rates([0.0, 0.1]), [1, 2]), "until training has begun"),
        (lambda s: history(s, [5, 11]), "shorter than the run"),
        (lambda s: history(s, [5, 5]), "twice"),
        (lambda s: history(s, [5], resolution=0.0), "resolution"),
        (lambda s: join_histories([]), "histories: got none"),
    ],
)
def test_bad_input_says_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call(schedule_from_rates(np.full(10, 0.1)))
