"""The laws against their papers' formulas, recursions and published numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import FORMULA

from tsl_jax.store import read_loss_curve
from tsl_jax.temporal import (
    SCHEDULE_LAWS,
    AnnealingLaw,
    MemoryLaw,
    MultiPowerLaw,
    StepPowerLaw,
    TimePowerLaw,
    history,
    loss_curve,
    schedule_from_rates,
)

COUNT = np.arange(2000)
RATES = 3e-4 * np.minimum((COUNT + 1) / 100, 1) * np.where(COUNT < 1200, 1.0, 0.3)
STEPS = np.array([50, 100, 500, 1200, 1201, 1300, 2000])
PARAMS = {
    "floor": 2.5,
    "coefficient": 0.6,
    "exponent": 0.45,
    "excess": 400.0,
    "memory": 150.0,
    "speed": 2.0,
    "slowness": 0.6,
    "rate_exponent": 0.65,
    "fast_memory": 20.0,
    "slow_memory": 400.0,
    "fast_fraction": 0.7,
}
#: Every law, by name.
LAWS = list(SCHEDULE_LAWS.values())


def params_of(law):
    return {name: PARAMS[name] for name in law.names}


@pytest.fixture(scope="module")
def seen():
    return history(schedule_from_rates(RATES), STEPS, resolution=0.02)


def test_power_laws_are_their_formulas(seen):
    tau = np.cumsum(RATES)[STEPS - 1]
    for law, axis in ((StepPowerLaw(), STEPS), (TimePowerLaw(), tau)):
        got = law.predict(params_of(law), seen)
        np.testing.assert_allclose(got, 2.5 + 0.6 * axis**-0.45, rtol=FORMULA.float32)


def test_multi_power_law_is_the_papers_double_sum(seen):
    p = PARAMS
    eta = np.concatenate([[0.0], RATES])
    expected = []
    for t in STEPS:
        drop = 0.0
        for k in range(1, t + 1):
            x = eta[k] ** -p["rate_exponent"] * np.sum(eta[k : t + 1])
            drop += (eta[k - 1] - eta[k]) * (1 - (p["speed"] * x + 1) ** -p["slowness"])
        expected.append(2.5 + 0.6 * eta[: t + 1].sum() ** -0.45 - p["excess"] * drop)
    np.testing.assert_allclose(
        MultiPowerLaw().predict(params_of(MultiPowerLaw()), seen), expected, rtol=FORMULA.float32
    )


def test_annealing_law_is_the_papers_momentum(seen):
    """``S2 = Σ_i m_i`` with ``m_i = λ m_(i-1) + (η_(i-1) - η_i)``, as arXiv 2408.11029 writes it."""
    decay = np.exp(-1 / PARAMS["memory"])
    eta, momentum, area, areas = np.concatenate([[0.0], RATES]), 0.0, 0.0, []
    for i in range(1, len(eta)):
        momentum = decay * momentum + eta[i - 1] - eta[i]
        area += momentum
        areas.append(area)
    tau = np.cumsum(RATES)[STEPS - 1]
    # The sum over a drop is Σ λ^j from j = 0: an exponential of n updates over (1 - λ).
    expected = 2.5 + 0.6 * tau**-0.45 - PARAMS["excess"] * (1 - decay) * np.array(areas)[STEPS - 1]
    np.testing.assert_allclose(AnnealingLaw().predict(params_of(AnnealingLaw()), seen), expected, rtol=FORMULA.float32)


def test_memory_laws_rate_is_two_moving_averages(seen):
    means, averages = np.zeros(2), []
    keep = np.exp(-1 / np.array([PARAMS["fast_memory"], PARAMS["slow_memory"]]))
    for rate in RATES:
        means = keep * means + (1 - keep) * rate
        averages.append(means @ [PARAMS["fast_fraction"], 1 - PARAMS["fast_fraction"]])
    lagged = np.array(averages)[STEPS - 1]
    law = MemoryLaw(2.0, 0.0)
    np.testing.assert_allclose(law.lagged_rate(params_of(law), seen), lagged, rtol=2e-4)
    base = 2.5 + 0.6 * np.cumsum(RATES)[STEPS - 1] ** -0.45
    got = law.predict(params_of(law) | {"excess": 40.0}, seen)
    np.testing.assert_allclose(got, base + 40.0 * base**2 * lagged, rtol=FORMULA.float32)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_coordinates_and_parameters_are_the_same_point(law):
    coordinates = law.coordinates(params_of(law))
    assert coordinates.shape == (len(law.names),)
    back = law.named(coordinates)
    assert list(back) == list(law.names)
    for name, value in back.items():
        assert float(value) == pytest.approx(PARAMS[name], rel=1e-5)
    many = jax.vmap(law.named)(jnp.stack([coordinates, coordinates + 0.1]))
    assert {value.shape for value in many.values()} == {(2,)}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_rates_of_zero_leave_values_and_slopes_finite(law):
    rates = np.concatenate([np.zeros(3), np.linspace(1e-3, 0.0, 50), np.zeros(5)])
    seen = history(schedule_from_rates(rates), [4, 30, 53, 58])
    loss, slopes = (
        f(law.coordinates(params_of(law)))
        for f in (lambda c: law.predict(law.named(c), seen), jax.jacfwd(lambda c: law.predict(law.named(c), seen)))
    )
    assert np.all(np.isfinite(loss))
    assert np.all(np.isfinite(slopes))
    assert loss[3] <= loss[2] + 1e-6  # nothing rises once the rate is 0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.01, 1), min_size=8, max_size=8))
def test_the_lagged_rate_lies_between_zero_and_the_highest_and_ends_at_the_last(rates):
    """A relaxation: it never overshoots, and long after the last change it has followed."""
    rates = np.repeat(rates, 5)
    long = np.concatenate([rates, np.full(20_000, rates[-1])])
    seen = history(schedule_from_rates(long), np.r_[np.arange(1, len(rates) + 1), len(long)])
    shape = {"memory": 10.0, "fast_memory": 2.0, "slow_memory": 100.0, "fast_fraction": 0.5}
    for law in (AnnealingLaw(), MemoryLaw()):
        lagged = np.asarray(law.lagged_rate(shape, seen))
        assert np.all((lagged > 0) & (lagged <= rates.max() * (1 + 1e-5)))
        # to a few float32 roundings of the highest rate, from which it came down
        assert lagged[-1] == pytest.approx(rates[-1], rel=1e-5, abs=1e-6 * rates.max())


def test_laws_are_static():
    assert hash(MemoryLaw()) == hash(MemoryLaw(3.0))
    assert MemoryLaw() == MemoryLaw(3.0, 0.5)
    assert MemoryLaw() != MemoryLaw(1.0)
    assert MultiPowerLaw() != AnnealingLaw()
    with pytest.raises(NotImplementedError, match="has no excess"):
        TimePowerLaw().lagged_rate({}, history(schedule_from_rates([0.1]), [1]))


# The published fits (two sizes, rounded as published) and the mean R² and absolute error they are reported to reach.
PUBLISHED = [
    ("25", (3.040, 0.525, 0.508, 363.788, 2.066, 0.583, 0.641), 0.9988, 0.00376),
    ("100", (2.651, 0.601, 0.453, 437.946, 2.132, 0.598, 0.655), 0.9983, 0.00435),
]


@pytest.mark.parametrize(("size", "params", "r2", "mae"), PUBLISHED)
def test_published_parameters_give_published_numbers(loss_curves, size, params, r2, mae):
    law, scores = MultiPowerLaw(), []
    for name in ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18"):
        curve = loss_curve(*read_loss_curve(loss_curves / size / f"{name}.csv"))
        predicted = law.predict(dict(zip(law.names, params, strict=True)), curve.history(warmup_steps=2160))
        left = np.asarray(predicted) - curve.loss
        scores.append((1 - np.mean(left**2) / np.var(curve.loss), np.abs(left).mean()))
    # Parameters rounded to the third digit move the losses by less than 5e-4 nat.
    assert np.mean(scores, axis=0) == pytest.approx((r2, mae), abs=4e-4)
