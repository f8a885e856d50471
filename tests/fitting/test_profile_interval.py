"""Profile intervals against scipy: the rise at their ends, what is open, and all that must not change them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import least_squares

from tests.fitting.planted import AXIS, CHECKPOINTS, CURVES, SIGMOID, noisy, truth
from tsl_jax import Family, FitOptions, Hyperbola, Parameter, PowerLaw, Sigmoid, fit, profile_interval

INDEPENDENT = FitOptions(noise="independent")
POSITION = np.arange(1.0, 49.0)
#: Relative error of the rise at an end: twice that of its place, and what the minimum over the others leaves.
RISE = 0.02


def ends(interval):
    return np.asarray(interval.lower, float), np.asarray(interval.upper, float)


def assert_rise(family, axis, losses, name, curve, options=INDEPENDENT, positive=()):
    """At finite ends the least rss with the parameter held there, by scipy, is what the quantile allows.

    ``curve(axis, params)`` is the law; parameters in ``positive`` are fitted by their logarithm, plateaus are free.
    """
    found = fit(family, axis, losses, options=options)
    interval = profile_interval(family, axis, losses, name, level=0.9, options=options)
    n, size = losses.shape[1], len(family.names)
    others = [other for other in family.names if other != name]
    seen = 0
    for k in range(len(losses)):
        rss = float(found.rss[k])
        allowed = stats.t.ppf(0.95, n - size) ** 2 * rss / (n - size)
        estimate = {key: float(value[k]) for key, value in found.params.items()}
        assert ends(interval)[0][k] < estimate[name] < ends(interval)[1][k]
        for end in (ends(interval)[0][k], ends(interval)[1][k]):
            if not np.isfinite(end) or (name in positive and end == 0):
                continue

            def residual(q, end=end, k=k):
                values = {o: np.exp(v) if o in positive else v for o, v in zip(others, q, strict=True)}
                return curve(axis, {**values, name: end}) - losses[k].astype(float)

            start = [np.log(estimate[o]) if o in positive else estimate[o] for o in others]
            tight = {"xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12, "x_scale": "jac"}
            rise = 2 * least_squares(residual, start, **tight).cost - rss
            assert rise == pytest.approx(allowed, rel=RISE), (name, k, end)
            seen += 1
    assert seen >= len(losses)


def numpy_sigmoid(axis, p):
    return p["final_loss"] + p["loss_drop"] / (1 + np.exp(p["sharpness"] * (np.log(axis) - np.log(p["learning_time"]))))


@pytest.mark.parametrize("name", SIGMOID.names)
def test_the_rise_at_the_ends_of_a_sigmoid(name):
    free = dataclasses.replace(INDEPENDENT, min_plateau=None)
    losses = noisy(noise=0.2)
    assert_rise(SIGMOID, AXIS, losses, name, numpy_sigmoid, free, ("learning_time", "sharpness"))


@pytest.mark.parametrize("name", Hyperbola().names)
def test_the_rise_at_the_ends_of_a_hyperbola(name):
    rng = np.random.default_rng(1)
    rate = np.geomspace(0.05, 0.5, 8)[:, None]
    losses = (3 / (1 + rate * POSITION) + 4 + 0.02 * rng.standard_normal((8, 48))).astype(np.float32)

    def curve(i, p):
        return p["amplitude"] / (1 + p["rate"] * i) + p["floor"]

    assert_rise(Hyperbola(), POSITION, losses, name, curve, positive=("rate",))


@pytest.mark.parametrize("name", PowerLaw().names)
def test_the_rise_at_the_ends_of_a_power_law(name):
    rng = np.random.default_rng(2)
    axis = np.geomspace(10, 1e4, 48)
    exponent = np.linspace(0.2, 0.6, 8)[:, None]
    losses = (8 * axis**-exponent + 2 + 0.02 * rng.standard_normal((8, 48))).astype(np.float32)

    def curve(a, p):
        return p["coefficient"] * a ** -p["exponent"] + p["floor"]

    assert_rise(PowerLaw(), axis, losses, name, curve, positive=("coefficient", "exponent"))


@dataclasses.dataclass(frozen=True)
class Decay(Family):
    """``start`` is the loss at the first checkpoint, a function of both plateaus; ``sum`` is of no kind."""

    name = "decay"
    parameters = Parameter.several(rate="1/axis", start="nat", floor="nat", strange="nat")

    def shape(self, x, theta):
        return jnp.exp(-jnp.exp(theta[0]) * x)

    def bounds(self, x):
        return jnp.array([-2.0]), jnp.array([5.0])

    def grid(self, x):
        return jnp.linspace(-2.0, 5.0, 30)[:, None]

    def named(self, offset, amplitude, theta, window):
        rate = jnp.exp(theta[0]) / window[1]
        return {"rate": rate, "start": offset + amplitude, "floor": offset, "strange": offset * amplitude}

    def curve(self, axis, params):
        away = params["start"] - params["floor"]
        return params["floor"] + away * jnp.exp(-params["rate"] * (axis - POSITION[0]))


def test_a_family_of_one_s_own():
    rng = np.random.default_rng(3)
    rate = np.linspace(0.08, 0.3, 8)[:, None]
    losses = (2 + 3 * np.exp(-rate * (POSITION - 1)) + 0.05 * rng.standard_normal((8, 48))).astype(np.float32)
    for name in ("rate", "start", "floor"):
        found = fit(Decay(), POSITION, losses, options=INDEPENDENT)
        lower, upper = ends(profile_interval(Decay(), POSITION, losses, name, options=INDEPENDENT))
        value, error = (np.asarray(a[name], float) for a in (found.params, found.stderr))
        half = stats.t.ppf(0.95, 44) * error  # nearly quadratic here
        np.testing.assert_allclose([value - lower, upper - value], [half, half], rtol=0.15)
    with pytest.raises(ValueError, match=r"name: 'strange' of family 'decay' is neither .*; take Fit.interval"):
        profile_interval(Decay(), POSITION, losses, "strange")


def test_late_and_early_events_are_open_on_one_side():
    rng = np.random.default_rng(4)
    planted = {"learning_time": np.repeat([0.2, 5e4], 32)[:, None], "sharpness": 1.2, "loss_drop": 6.0}
    noise = 0.1 * rng.standard_normal((64, CHECKPOINTS))
    losses = (numpy_sigmoid(AXIS, planted | {"final_loss": 1.0}) + noise).astype(np.float32)
    free = dataclasses.replace(INDEPENDENT, min_plateau=None)
    lower, upper = ends(profile_interval(SIGMOID, AXIS, losses, "learning_time", options=free))
    early, late = (slice(None, 32), slice(32, None))
    seen = np.isfinite(upper) | (lower > 0)  # of others nothing is known: few points lie on this side of the event
    assert seen.mean() > 0.6
    assert np.mean(((lower == 0) & np.isfinite(upper))[early][seen[early]]) > 0.85
    assert np.mean((np.isinf(upper) & (lower > 100))[late][seen[late]]) > 0.85
    assert np.mean((lower <= planted["learning_time"][:, 0]) & (upper >= planted["learning_time"][:, 0])) > 0.85
    drop = profile_interval(SIGMOID, AXIS, losses, "loss_drop", options=free)
    assert np.mean(np.isinf(drop.upper[late])) > 0.85
    # A loss below 0 cannot be, by the default options: how low it ends and how late the event is are then bounded.
    lower, upper = ends(profile_interval(SIGMOID, AXIS, losses, "final_loss", options=INDEPENDENT))
    assert np.mean(lower[late] == 0) > 0.85
    lower, upper = ends(profile_interval(SIGMOID, AXIS, losses, "learning_time", options=INDEPENDENT))
    seen = lower[late] > 0  # of an event that is not seen nothing is bounded
    assert np.array_equal(np.isfinite(upper[late]), seen)
    assert seen.mean() > 0.6


def test_noise_alone_says_nothing_of_an_event():
    rng = np.random.default_rng(5)
    losses = (3 + 0.2 * rng.standard_normal((64, CHECKPOINTS))).astype(np.float32)
    for name, least, most in (("learning_time", 0, np.inf), ("loss_drop", -np.inf, np.inf), ("final_loss", 0, np.inf)):
        lower, upper = ends(profile_interval(SIGMOID, AXIS, losses, name, options=INDEPENDENT))
        open_ended = (lower == least) & (upper == most)
        print(name, open_ended.mean())
        assert open_ended.mean() > 0.8


def test_sharp_steps_lie_somewhere_between_two_checkpoints():
    rng = np.random.default_rng(6)
    at = np.arange(4, 20)
    losses = np.where(np.arange(CHECKPOINTS) <= at[:, None], 5.0, 1.0) + 0.1 * rng.standard_normal((16, CHECKPOINTS))
    lower, upper = ends(profile_interval(SIGMOID, AXIS, losses.astype(np.float32), "learning_time"))
    gap = np.log(AXIS[1] / AXIS[0])
    first, last = np.log(lower / AXIS[at]) / gap, np.log(upper / AXIS[at]) / gap
    assert np.all((first > -0.1) & (last < 1.1))
    assert np.all(last - first > 0.3)
    assert np.median(last - first) > 0.6
    assert np.all(np.isinf(profile_interval(SIGMOID, AXIS, losses.astype(np.float32), "sharpness").upper))


def test_curves_do_not_affect_one_another():
    losses = noisy(noise=0.2)
    whole = ends(profile_interval(SIGMOID, AXIS, losses, "loss_drop"))
    order = np.random.default_rng(7).permutation(CURVES)
    losses[5] = np.nan
    mixed = ends(profile_interval(SIGMOID, AXIS, losses[order].reshape(4, 4, -1), "loss_drop"))
    for a, b in zip(whole, mixed, strict=True):
        assert b.shape == (4, 4)
        np.testing.assert_allclose(a[order][order != 5], b.ravel()[order != 5], rtol=1e-4)
        assert np.all(np.isnan(b.ravel()[order == 5]))
    few = ends(profile_interval(SIGMOID, AXIS, noisy(noise=0.2)[:3], "loss_drop"))
    np.testing.assert_allclose(few, [a[:3] for a in whole], rtol=1e-4)


def test_gaps_are_points_without_weight():
    losses, weights = noisy(noise=0.2), np.ones((CURVES, CHECKPOINTS), np.float32)
    gappy = losses.copy()
    gappy[:, 6:9] = np.nan
    weights[:, 6:9] = 0
    by_gap = ends(profile_interval(SIGMOID, AXIS, gappy, "learning_time"))
    by_weight = ends(profile_interval(SIGMOID, AXIS, losses, "learning_time", 7 * weights))
    np.testing.assert_allclose(by_gap, by_weight, rtol=1e-3)


def test_wider_for_a_higher_level():
    losses = noisy(noise=0.2)
    low, high = (ends(profile_interval(SIGMOID, AXIS, losses, "sharpness", level=level)) for level in (0.5, 0.95))
    assert np.all((high[0] < low[0]) & (low[1] < high[1]))


def test_float64_huber_and_traced():
    losses = noisy(noise=0.2)
    single = ends(profile_interval(SIGMOID, AXIS, losses, "learning_time"))
    traced = jax.jit(lambda y: profile_interval(SIGMOID, AXIS, y, "learning_time"))(losses)
    np.testing.assert_allclose(ends(traced), single, rtol=1e-4)
    with jax.enable_x64(True):
        double = ends(profile_interval(SIGMOID, AXIS, losses.astype(np.float64), "learning_time"))
    np.testing.assert_allclose(np.log(double), np.log(single), atol=3e-3)
    losses[:, 11] += 40.0
    robust = ends(profile_interval(SIGMOID, AXIS, losses, "learning_time", options=FitOptions(huber_threshold=1.345)))
    assert np.median(np.log(robust[1] / robust[0])) < 2 * np.median(np.log(single[1] / single[0]))


def test_losses_without_noise():
    lower, upper = ends(profile_interval(SIGMOID, AXIS, noisy(noise=0.0), "learning_time"))
    planted = truth()["learning_time"][:, 0]
    assert np.all((lower <= planted * 1.001) & (upper >= planted / 1.001))
    assert np.all(upper / lower < 1.01)


def test_a_linear_scale():
    losses = noisy(noise=0.1)
    found = ends(profile_interval(Sigmoid(scale="linear"), np.arange(24.0), losses, "learning_time"))
    assert np.all(found[0] < found[1])
    steps = np.where(np.arange(24) < 30, 5.0, 1.0) + 0.1 * np.random.default_rng(8).standard_normal((4, 24))
    late = profile_interval(Sigmoid(scale="linear"), np.arange(24.0), steps.astype(np.float32), "learning_time")
    assert np.mean(np.isinf(late.lower) & np.isinf(late.upper)) > 0.5
