"""Windows far from 0: at checkpoints like 2^24 + k, where float32 cannot tell neighbours apart, nothing is lost."""

import functools

import jax
import numpy as np
import pytest

import tsl_jax as tsl

POINTS, CURVES, NOISE = 64, 40, 0.02
NEAR, FAR = [0.0], [2.0**20, 2.0**24, 1e9]
WINDOWS = {f"{first:g} + k": first + np.arange(POINTS) for first in FAR} | {
    "0.1% of 10^9": np.linspace(1e9, 1.001e9, POINTS),
    "10^12 + 4·10^6 k": 1e12 + 4e6 * np.arange(POINTS),
}
KERNELS = ("native", "xla")


def planted(axis, scale):
    """Noisy losses, the events' times, and the distance of checkpoints."""
    rng = np.random.default_rng(7)
    at, width = rng.uniform(0.15, 0.85, (CURVES, 1)), axis[-1] - axis[0]
    time = axis[0] + at * width
    u, u_learn = (np.log1p((a - axis[0]) / axis[0]) if scale == "log" else a - axis[0] for a in (axis, time))
    losses = 1 + 4 / (1 + np.exp(25 * (u - u_learn) / u[-1]))
    return (losses + NOISE * rng.standard_normal(losses.shape)).astype("float32"), time[:, 0], width / (POINTS - 1)


def options(kernel):
    if kernel == "native" and tsl.load_kernel() is not None:
        pytest.skip("no native kernel here")
    return tsl.FitOptions(kernel=kernel)


def scatter(found, truth):
    """Root mean square of the errors of the times, in standard errors."""
    return float(
        np.sqrt(np.mean(((np.asarray(found.params["learning_time"]) - truth) / found.stderr["learning_time"]) ** 2))
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("window", WINDOWS)
def test_times_and_predictions_are_as_near_to_the_truth_as_their_errors_say(window, scale, kernel):
    axis = WINDOWS[window]
    losses, truth, gap = planted(axis, scale)
    found = tsl.fit(tsl.Sigmoid(scale=scale), axis, losses, options=options(kernel))
    assert np.all(np.asarray(found.category) == tsl.Category.LEARNED)
    assert np.max(np.asarray(found.stderr["learning_time"])) < gap / 10
    assert 0.75 < scatter(found, truth) < 1.3
    missed = np.asarray(found.predict(axis)) - losses
    np.testing.assert_allclose(np.sum(np.square(missed), axis=1), np.asarray(found.rss), rtol=2e-3)
    halfway = np.asarray(found.predict(axis[[POINTS // 2]] + gap / 2, kind="curve"))
    assert np.all(np.isfinite(halfway))


@pytest.mark.parametrize("offset", FAR)
def test_a_window_moved_along_a_linear_axis_gives_the_same_fits(offset):
    near = np.arange(float(POINTS))
    losses, _, _ = planted(near + 1e3, "linear")
    family = tsl.Sigmoid(scale="linear")
    here, there = (tsl.fit(family, near + first, losses) for first in (0.0, offset))
    time = np.asarray(there.params["learning_time"], np.float64) - offset
    np.testing.assert_allclose(time, here.params["learning_time"], atol=2e-5)
    for name in family.names:
        np.testing.assert_allclose(there.stderr[name], here.stderr[name], rtol=1e-4)
    for name, likely in here.probabilities.items():
        np.testing.assert_allclose(there.probabilities[name], likely, atol=1e-4)
    np.testing.assert_array_equal(there.category, here.category)
    np.testing.assert_allclose(there.predict(offset + near), here.predict(near), atol=1e-5)
    for interval in (lambda fit, _: fit.interval("learning_time"), lambda _, axis: profile(family, axis, losses)):
        moved, own = interval(there, near + offset), interval(here, near)
        np.testing.assert_allclose(np.asarray(moved.lower) - offset, own.lower, atol=1e-3)
        np.testing.assert_allclose(np.asarray(moved.upper) - offset, own.upper, atol=1e-3)


def profile(family, axis, losses):
    return tsl.profile_interval(family, axis, losses, "learning_time")


def test_an_event_past_the_end_has_an_open_interval_there():
    axis = 2.0**24 + np.arange(POINTS)
    losses = (1 + 4 / (1 + np.exp((axis - axis[-1] - 8) / 4)))[None].astype("float32")
    noisy = losses + NOISE * np.random.default_rng(1).standard_normal(losses.shape).astype("float32")
    for scale in ("linear", "log"):
        found = profile(tsl.Sigmoid(scale=scale), axis, noisy)
        assert axis[-1] - 2 < found.lower[0] < axis[-1] + 8.5
        assert found.upper[0] > axis[-1] + 8


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_within_a_program_nothing_is_lost_either(scale):
    axis = 2.0**24 + np.arange(POINTS)
    losses, _, _ = planted(axis, scale)
    family = tsl.Sigmoid(scale=scale)
    found = tsl.fit(family, axis, losses)
    jitted, inside = jax.jit(lambda losses: ((fit := tsl.fit(family, axis, losses)), fit.predict(axis)))(losses)
    whole = np.asarray(jitted.params["learning_time"], np.float64) + np.asarray(jitted.event_low)
    np.testing.assert_allclose(whole, found.params["learning_time"], rtol=0, atol=1e-4)
    mapped = jax.vmap(lambda row: tsl.fit(family, axis, row).predict(axis))(losses)
    given = jax.jit(lambda fit: fit.predict(axis))(found)
    one = jax.tree.map(lambda array: array[3], found).predict(axis)
    for prediction in (inside, mapped, given):
        np.testing.assert_allclose(prediction, found.predict(axis), atol=2e-4)
    np.testing.assert_allclose(one, found.predict(axis)[3], atol=2e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_derivatives_are_those_of_the_window_near_0(kernel):
    near = np.arange(float(POINTS))
    losses, _, _ = planted(near + 1e3, "linear")
    family, chosen = tsl.Sigmoid(scale="linear"), options(kernel)

    def fitted(losses, axis):
        found = tsl.fit(family, axis, losses, options=chosen)
        return found.params["learning_time"].sum() + found.predict(axis[:9]).sum()

    here, there = (jax.jit(jax.grad(functools.partial(fitted, axis=near + first)))(losses) for first in (0.0, 2.0**24))
    assert np.max(np.abs(here)) > 0.1
    np.testing.assert_allclose(there, here, atol=2e-3 * float(np.max(np.abs(here))))


@pytest.mark.parametrize(
    "axis", [np.geomspace(1, 1e6, POINTS), 1e6 + 2000.0 * np.arange(POINTS), np.arange(1.0, 4097.0)]
)
def test_elsewhere_times_are_float32(axis):
    losses = (1 + 4 / (1 + np.exp(np.linspace(-6, 6, len(axis)))))[None].astype("float32")
    found = tsl.fit(tsl.Sigmoid(), axis, losses)
    assert found.event_low is None
    assert found.params["learning_time"].dtype == np.float32


def test_errors_of_times_near_the_end_of_float32_are_numbers():
    axis = np.geomspace(1e30, 1e33, 6)
    losses = np.array([1.69e-10, 3.8e-11, 3.2e-10, 2.7e-10, 4.3e-10, 4.0e-10], "float32")
    found = tsl.fit(tsl.Sigmoid(), axis, losses)
    assert not np.isinf(np.asarray(found.stderr["learning_time"]))
    steep = (1 + 4 / (1 + (np.geomspace(1e30, 1e33, 40) / 3e31) ** 3)).astype("float32")
    noisy = steep + 0.05 * np.random.default_rng(0).standard_normal(40).astype("float32")
    known = tsl.fit(tsl.Sigmoid(), np.geomspace(1e30, 1e33, 40), noisy)
    assert 1e29 < known.stderr["learning_time"] < 1e31


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_law_itself_is_exact_of_numbers_that_are_known(scale):
    axis = 2.0**24 + np.arange(POINTS)
    truth = {"learning_time": 2.0**24 + 20.4, "sharpness": 0.5, "loss_drop": 4.0, "final_loss": 1.0}
    truth["sharpness"] *= 1 if scale == "linear" else 2.0**24
    expected = 1 + 4 / (1 + np.exp(0.5 * (np.arange(POINTS) - 20.4)))
    np.testing.assert_allclose(tsl.Sigmoid(scale=scale).curve(axis, truth), expected, atol=2e-5)
    found = tsl.fit(tsl.Sigmoid(scale=scale), axis, expected[None].astype("float32"))
    one = {name: values[0] for name, values in found.params.items()}
    np.testing.assert_allclose(tsl.Sigmoid(scale=scale).curve(axis, one), expected, atol=1e-4)
