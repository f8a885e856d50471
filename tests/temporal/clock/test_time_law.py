"""The time law: honest intervals, scipy's fit, a brute-force profile, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.signal
import scipy.stats
from planted_runs import RATES

from tsl_jax.fitting import Status
from tsl_jax.temporal import compare_axes, lr_sum, schedule_from_rates, time_law

TAU = np.geomspace(0.02, 8.0, 120)
NUMBER = 400


def noise(correlation, seed=0, size=2e-3):
    """(curves, rows) Gaussian noise with this correlation between neighbours."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(NUMBER, len(TAU)))
    rows = [steps[:, 0]]
    for i in range(1, len(TAU)):
        rows.append(correlation * rows[-1] + np.sqrt(1 - correlation**2) * steps[:, i])
    return size * np.stack(rows, axis=1)


@jax.jit
@jax.vmap
def fit_many(loss):
    return time_law(TAU, loss)


@functools.cache
def many(exponent, correlation):
    return fit_many(0.6 * TAU**-exponent + 2.5 + noise(correlation))


@functools.cache
def one():
    return 0.6 * TAU**-0.4 + 2.5 + noise(0.0, seed=5)[0]


@functools.cache
def one_law():
    return time_law(TAU, one())


# Honest intervals


@pytest.mark.parametrize("exponent", [1 / 3, 0.6])
def test_intervals_of_the_exponent_hold_the_truth_as_often_as_they_say(exponent):
    laws = many(exponent, 0.0)
    assert np.all(laws.status == Status.CONVERGED)
    inside = (laws.exponent_lower < exponent) & (exponent < laws.exponent_upper)
    # 95%, widened a little by autocorrelations that are 0 but estimated; 400 curves know it to 1.1%.
    assert 0.92 < np.mean(inside) < 0.99
    for name, truth in (("exponent", exponent), ("floor", 2.5), ("coefficient", 0.6)):
        z = (np.asarray(laws.params[name]) - truth) / np.asarray(laws.stderr[name])
        assert abs(np.mean(z)) < 0.2, name
        assert 0.8 < np.std(z) < 1.1, name


def test_intervals_allow_for_correlated_residuals():
    exponent = 0.4
    laws = many(exponent, 0.8)
    inside = (laws.exponent_lower < exponent) & (exponent < laws.exponent_upper)
    assert np.mean(inside) > 0.85  # taken as independent, rows like these give 55%
    assert np.mean(laws.autocorrelation) == pytest.approx(0.75, abs=0.08)
    white = many(1 / 3, 0.0)
    assert np.median(laws.stderr["exponent"]) > 1.5 * np.median(white.stderr["exponent"])


def test_a_third_is_refused_only_when_it_is_wrong():
    right = np.asarray(many(1 / 3, 0.0).third_p_value)
    assert np.mean(right < 0.05) < 0.08
    assert scipy.stats.kstest(right, "uniform").pvalue > 1e-3 or np.mean(right) > 0.5
    assert np.all(np.asarray(many(0.6, 0.0).third_p_value) < 1e-6)


# Other ways to the same numbers


def curve(tau, coefficient, exponent, floor):
    return coefficient * tau**-exponent + floor


def test_the_fit_and_its_errors_are_scipys():
    best, covariance = scipy.optimize.curve_fit(curve, TAU, one(), p0=(1.0, 0.5, 2.0))
    law, wider = one_law(), []
    for i, name in enumerate(("coefficient", "exponent", "floor")):
        error = np.sqrt(covariance[i, i])
        assert float(law.params[name]) == pytest.approx(best[i], abs=0.02 * error)
        wider.append(float(law.stderr[name]) / error)
    assert 0.95 < min(wider) < max(wider) < 1.4  # white noise, which might be correlated for all that 120 rows tell
    left = one() - curve(TAU, *best)
    assert float(law.rss) == pytest.approx(np.sum(left**2), rel=1e-3)
    assert float(law.r2) == pytest.approx(1 - np.mean(left**2) / np.var(one()), abs=1e-5)


def test_the_interval_is_where_the_profile_crosses():
    law = time_law(TAU, one(), level=0.5)

    def rss(exponent):
        columns = np.stack([TAU**-exponent, np.ones_like(TAU)], axis=1)
        return np.linalg.lstsq(columns, one())[1][0]

    best = rss(float(law.params["exponent"]))
    above = [rss(float(end)) - best for end in (law.exponent_lower, law.exponent_upper)]
    assert above[0] == pytest.approx(above[1], rel=0.02)
    white = best / (len(TAU) - 3) * scipy.stats.t.ppf(0.75, len(TAU) - 3) ** 2
    assert 0.9 * white < above[0] < 1.7 * white


@pytest.mark.parametrize("white", [0.0, 0.05])
def test_intervals_hold_the_truth_where_the_losses_wander_slowly(white):
    """White noise over a wander of 500 rows: by the lag-1 correlation alone these gave 65 and 35%."""
    time = np.linspace(0.7, 20.0, 2000)
    rng = np.random.default_rng(0)
    steps = np.sqrt(1 - 0.996**2) * rng.normal(size=(60, len(time)))
    steps[:, 0] = rng.normal(size=60)
    wander = 0.01 * scipy.signal.lfilter([1.0], [1.0, -0.996], steps)
    losses = 3 + 0.9 * time ** (-1 / 3) + wander + white * rng.normal(size=wander.shape)
    laws = jax.jit(jax.vmap(lambda loss: time_law(time, loss)))(losses)
    assert np.mean((laws.exponent_lower < 1 / 3) & (laws.exponent_upper > 1 / 3)) >= 0.9
    width = np.median(laws.exponent_upper - laws.exponent_lower)
    assert width < 2 * 3.92 * np.std(laws.params["exponent"])


def test_white_noise_costs_little_width():
    time, rng = np.linspace(0.7, 20.0, 2000), np.random.default_rng(0)
    law = time_law(time, curve(time, 0.9, 1 / 3, 3.0) + 0.05 * rng.normal(size=len(time)))
    power = time ** (-1 / 3)
    slopes = np.stack([power, -0.9 * power * np.log(time), np.ones_like(time)], axis=1)
    error = 0.05 * np.sqrt(np.linalg.inv(slopes.T @ slopes)[1, 1])
    assert float(law.exponent_upper - law.exponent_lower) < 1.5 * 3.92 * error


def test_units_and_offsets_do_not_matter():
    law, scaled = one_law(), time_law(1e6 * TAU, one() + 100.0)
    assert float(scaled.params["exponent"]) == pytest.approx(float(law.params["exponent"]), abs=2e-3)
    assert float(scaled.params["floor"]) == pytest.approx(float(law.params["floor"]) + 100, abs=2e-3)
    np.testing.assert_allclose(scaled.predict(1e6 * TAU), one() + 100.0, atol=0.01)


def test_weight_zero_leaves_rows_out():
    kept = np.arange(len(TAU)) % 3 > 0
    masked = time_law(TAU, np.where(kept, one(), np.nan), weights=kept.astype(float))
    best, _ = scipy.optimize.curve_fit(curve, TAU[kept], one()[kept], p0=(1.0, 0.5, 2.0))
    assert int(masked.num_points) == kept.sum()
    for i, name in enumerate(("coefficient", "exponent", "floor")):
        assert float(masked.params[name]) == pytest.approx(best[i], rel=1e-3)


def test_what_nothing_bounds_is_said_so():
    """A straight piece of a curve belongs to power laws of any small exponent, a single drop to any large one."""
    tau = np.linspace(1.0, 1.3, len(TAU))
    line = 3.0 - 0.1 * tau + 0.01 * np.random.default_rng(0).normal(size=len(TAU))
    assert float(time_law(tau, line, least_floor=None).exponent_lower) == 0
    straight = time_law(tau, line)
    assert float(straight.params["floor"]) >= 0  # so that the exponent is above 0.1 / 3 or so
    assert float(straight.exponent_lower) < 0.035
    assert np.isfinite(straight.exponent_upper)
    assert not straight.determined
    drop = time_law(tau, 3.0 + np.exp(-(tau - 1) / 0.005))
    assert np.isinf(drop.exponent_upper)
    assert drop.status == Status.AT_BOUND
    assert not drop.determined  # within two rows: it might be noise of this size
    slower = time_law(tau, 3.0 + np.exp(-(tau - 1) / 0.02))
    assert float(slower.exponent_lower) > 1
    assert np.isinf(slower.exponent_upper)
    assert slower.status == Status.AT_BOUND
    assert one_law().determined


def test_the_floor_of_losses_is_not_below_0_unless_some_are():
    """Among all laws with the floor at 0 the one that fits best; a brute-force search knows it."""
    loss = 3.0 - 0.2 * np.log(TAU / TAU[0])
    law = time_law(TAU, loss)
    assert float(law.params["floor"]) == pytest.approx(0, abs=1e-5)
    best, _ = scipy.optimize.curve_fit(lambda tau, c, a: c * tau**-a, TAU, loss, p0=(2.0, 0.1))
    assert float(law.params["exponent"]) == pytest.approx(best[1], rel=1e-3)
    assert float(law.params["coefficient"]) == pytest.approx(best[0], rel=1e-3)
    assert not law.determined
    assert float(time_law(TAU, loss, least_floor=None).params["floor"]) < -3
    assert float(time_law(TAU, loss - 3.0).params["floor"]) < -3


def test_dynamic_time_beats_steps_where_the_rate_changes():
    steps = np.linspace(100, 2000, len(TAU) // 3).astype(int)
    taus = [lr_sum(schedule_from_rates(rates), steps) for rates in RATES]
    tau, step = np.concatenate(taus), np.tile(steps, len(RATES))
    rng = np.random.default_rng(0)
    law = compare_axes(tau, step, 0.5 * tau**-0.33 + 2.0 + 1e-3 * rng.normal(size=len(tau)))
    assert float(law.delta_aic) > 10
    assert float(law.dynamic_time.exponent_lower) < 0.33 < float(law.dynamic_time.exponent_upper)
    other = compare_axes(tau, step, 5.0 * step**-0.33 + 2.0 + 1e-3 * rng.normal(size=len(tau)))
    assert float(other.delta_aic) < -10


def test_it_is_differentiable_and_traced():
    slope = jax.grad(lambda loss: time_law(TAU, loss).params["floor"])(jnp.asarray(one()))
    assert float(slope.sum()) == pytest.approx(1.0, abs=1e-2)  # all losses up by 1: so is the floor


# Bad input


@pytest.mark.parametrize(
    ("tau", "loss", "options", "message"),
    [
        (TAU[:1], np.ones(1), {}, "got 1 row"),
        (TAU[:4], 1 / TAU[:4], {}, "at least 5"),
        (TAU, TAU, {}, "loss: rises from"),
        (TAU, np.full_like(TAU, 3.0), {}, "loss: does not fall from 3 .* to 3 "),
        (TAU - TAU[0], 1 / TAU, {}, "dynamic_time: got 0.0, expected positive finite"),
        (TAU, np.where(TAU < 1, np.nan, 1 / TAU), {}, "loss: got nan"),
        (TAU, 1 / TAU[:-1], {}, "got shapes"),
        (TAU[None], 1 / TAU[None], {}, "jax.vmap"),
        (TAU, 1 / TAU, {"level": 1.0}, "level: got 1.0"),
        (TAU, 1 / TAU, {"weights": np.ones(3)}, "weights: got shape"),
    ],
)
def test_bad_input_says_what_to_do(tau, loss, options, message):
    with pytest.raises(ValueError, match=message):
        time_law(tau, loss, **options)


@pytest.mark.parametrize("power", [-100, -60, 60])
def test_losses_of_any_magnitude_have_the_same_law_and_errors(power):
    time, size = np.geomspace(10, 1e4, 40), np.float32(2.0**power)
    loss = (1 + 5 * time**-0.4 + 0.003 * np.random.default_rng(3).standard_normal(40)).astype("float32")
    plain, found = time_law(time, loss), time_law(time, loss * size)
    assert (int(found.status), bool(found.determined)) == (Status.CONVERGED, True)
    for name in plain.params:
        unit = 1 if name == "exponent" else size
        np.testing.assert_allclose(found.params[name] / unit, plain.params[name], rtol=1e-4)
        np.testing.assert_allclose(found.stderr[name] / unit, plain.stderr[name], rtol=1e-3)
    np.testing.assert_allclose(found.exponent_lower, plain.exponent_lower, rtol=1e-3)
    np.testing.assert_allclose(found.exponent_upper, plain.exponent_upper, rtol=1e-3)


def test_a_coefficient_that_is_no_number_is_said():
    loss = np.array([8.5e23, 8e2, 5e-28, 5.6e9, 3.6e-19, 3.6e9, 2.7e-24, 2.7e4])
    law = time_law(10 * np.arange(1, 9), loss)
    assert Status(int(law.status)) == Status.NON_FINITE
    assert all(np.isnan(value) for value in (*law.params.values(), *law.stderr.values()))
    assert not law.determined


@pytest.mark.parametrize("value", [1e300, 1e-300, 1e39, 1e-41])
def test_an_axis_that_float32_does_not_have_is_refused_in_words(value):
    time = np.r_[np.geomspace(10, 1e4, 39), value]
    with pytest.raises(ValueError, match=r"dynamic_time: got .*e[+-]\d+, expected values that float32 has.*unit"):
        time_law(time, np.linspace(5, 2, 40))
