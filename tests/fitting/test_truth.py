"""Planted truth, an independent oracle, and what the input's precision changes."""

import dataclasses
import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.fitting.problems import hyperbolas, power_laws
from tests.fitting.planted import (
    AXIS,
    CHECKPOINTS,
    CURVES,
    ONE_START,
    SIGMOID,
    assert_same_minimum,
    clean,
    fitter,
    noisy,
    same_bits,
    scipy_fit,
    sigmoid,
    truth,
)
from tests.tolerances import RECOVERY, RSS
from tsl_jax import Family, Hyperbola, Parameter, PowerLaw, Sigmoid, Status, fit

pytestmark = pytest.mark.usefixtures("each_kernel")


def assert_recovered(found, planted, dtype):
    for name, value in planted.items():
        got, expected = np.asarray(found.params[name]), np.ravel(value)
        np.testing.assert_allclose(got, expected, rtol=RECOVERY.of(dtype), err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoids_on_a_log_scale_of_both_signs(dtype):
    with jax.enable_x64(dtype == np.float64):
        found = fitter()(clean(dtype))
    assert {leaf.dtype for leaf in found.params.values()} == {np.dtype(dtype)}
    assert_recovered(found, truth(), dtype)
    assert np.all(found.status == Status.CONVERGED)
    assert np.all(found.r2 > 0.9999)
    drops = np.asarray(found.params["loss_drop"])
    assert (drops < 0).sum() == CURVES // 4


def test_sigmoids_on_a_linear_scale_far_from_zero():
    # Neighbouring steps are one number in float32 here: the window must be taken in float64.
    step = 1e8 + np.arange(CHECKPOINTS)
    planted = {
        "learning_time": 1e8 + np.linspace(7.0, 15.0, CURVES)[:, None],
        "sharpness": np.full((CURVES, 1), 0.8),
        "loss_drop": np.where(np.arange(CURVES) % 2, -3.0, 3.0)[:, None],
        "final_loss": np.full((CURVES, 1), 4.0),
    }
    z = planted["sharpness"] * (step - planted["learning_time"])
    losses = planted["final_loss"] + planted["loss_drop"] / (1 + np.exp(z))
    found = fitter(Sigmoid(scale="linear"), axis=step)(losses.astype(np.float32))
    assert_recovered(found, planted, np.float32)


def test_sigmoids_on_a_log_scale_with_a_narrow_window_far_from_zero():
    # ln(1e7 + i) has the same float32 for twenty neighbours: only float64 keeps the checkpoints apart.
    step = 1e7 + np.arange(CHECKPOINTS)
    losses = 1.5 + np.linspace(2, 4, CURVES)[:, None] / (1 + np.exp(0.8 * (step - step[11])))
    found = fitter(axis=step)(losses.astype(np.float32))
    assert np.all(found.r2 > 0.9999)
    np.testing.assert_allclose(found.params["loss_drop"], np.linspace(2, 4, CURVES), rtol=1e-2)


@pytest.mark.parametrize(
    ("family", "problem"),
    [
        (Hyperbola(), hyperbolas(5, CURVES, CHECKPOINTS, noise=0.0, dtype=np.float64)),
        (PowerLaw(), power_laws(5, CURVES, CHECKPOINTS, noise=0.0, dtype=np.float64)),
    ],
    ids=["hyperbola", "power_law"],
)
def test_position_and_time_laws(family, problem):
    mirrored = problem.losses.copy()
    mirrored[::2] = 10 - mirrored[::2]  # rising curves: the amplitude's other sign
    with jax.enable_x64(True):
        found = fitter(family, axis=problem.time)(mirrored)
    planted = {name: value.copy() for name, value in problem.truth.items()}
    amplitude, floor = (planted[name] for name in (family.names[0], "floor"))
    amplitude[::2] *= -1
    floor[::2] = 10 - floor[::2]
    assert_recovered(found, planted, np.float64)


@dataclasses.dataclass(frozen=True)
class Gompertz(Family):
    """``final_loss + loss_drop · (1 - exp(-exp(-sharpness · (u - u_learn))))``: a user's own family."""

    name: ClassVar[str] = "gompertz"
    parameters: ClassVar[tuple[Parameter, ...]] = Sigmoid.parameters
    event: ClassVar[str | None] = "learning_time"

    def shape(self, x, theta):
        return -jnp.expm1(-jnp.exp(jnp.clip(-jnp.exp(theta[1]) * (x - theta[0]), -30, 30)))

    def bounds(self, x):
        return jnp.array([-1.0, 0.0], x.dtype), jnp.array([2.0, 5.0], x.dtype)

    def grid(self, x):
        centre, sharpness = jnp.meshgrid(jnp.linspace(-0.5, 1.5, 30), jnp.linspace(0.5, 4.5, 9))
        return jnp.stack([centre.ravel(), sharpness.ravel()], axis=1).astype(x.dtype)

    def named(self, offset, amplitude, theta, window):
        u_learn, sharpness = window[0] + window[1] * theta[0], jnp.exp(theta[1]) / window[1]
        return dict(zip(self.names, (jnp.exp(u_learn), sharpness, amplitude, offset), strict=True))

    def curve(self, axis, params):
        z = params["sharpness"] * (jnp.log(axis) - jnp.log(params["learning_time"]))
        return params["final_loss"] - params["loss_drop"] * jnp.expm1(-jnp.exp(-z))


def test_a_family_of_the_users_own():
    planted = {"learning_time": np.geomspace(20, 500, CURVES), "sharpness": np.full(CURVES, 1.5)}
    planted |= {"loss_drop": np.linspace(-3, 3.2, CURVES), "final_loss": np.full(CURVES, 4.0)}
    family = Gompertz(scale="log")
    losses = family.curve(AXIS, {name: value[:, None] for name, value in planted.items()})
    found = fitter(family)(np.asarray(losses))
    assert_recovered(found, planted, np.float32)
    np.testing.assert_allclose(found.predict(AXIS), losses, atol=2e-3)
    assert np.all(found.category == 1)


def test_the_same_minimum_as_scipy():
    losses = noisy(seed=1)
    found = fitter()(losses)
    planted = np.concatenate(list(truth().values()), axis=1)
    for k in range(0, CURVES, 3):
        params, rss = scipy_fit(losses[k].astype(float), planted[k])
        np.testing.assert_allclose(found.rss[k], rss, rtol=RSS.float32)
        for name, expected in zip(Sigmoid().names, params, strict=True):
            assert abs(found.params[name][k] - expected) < 0.02 * found.stderr[name][k]


def test_float64_finds_the_minimum_more_precisely():
    losses = noisy(seed=1)
    single = fitter()(losses)
    with jax.enable_x64(True):
        double = fitter()(losses.astype(np.float64))
    planted = np.concatenate(list(truth().values()), axis=1)
    for k in (0, 7):
        params, rss = scipy_fit(losses[k].astype(float), planted[k])
        np.testing.assert_allclose(double.rss[k], rss, rtol=RSS.float64)
        double_error, single_error = (abs(f.params["sharpness"][k] / params[1] - 1) for f in (double, single))
        assert double_error < 1e-5
        assert double_error < single_error


def test_half_precision_losses_are_computed_in_float32():
    halves = noisy().astype(np.float16)
    found = fitter()(halves)
    assert found.rss.dtype == np.float32
    expected = fitter()(halves.astype(np.float32))
    assert_same_minimum(found, expected)
    if jax.__version_info__ < (0, 11):  # later ones round the two programs differently
        assert same_bits(found, expected)
    # Whatever the version, float16 is moved and no more.
    program = str(jax.make_jaxpr(lambda losses: fit(SIGMOID, AXIS, losses, options=ONE_START))(halves))
    steps = [line.split(" = ") for line in program.splitlines() if " = " in line]
    assert len(steps) > 100
    of_halves = {re.match(r"\w+", step)[0] for result, step in steps if "f16[" in result}
    assert of_halves <= {"jit", "pad", "reshape", "transpose", "convert_element_type"}


def test_a_large_constant_below_the_losses_does_not_hide_the_event():
    # What float32 keeps of 1000 + loss is a rounding of 6e-5: the event must still be found.
    found = fitter()((1000 + noisy()).astype(np.float32))
    plain = fitter()(noisy())
    times, errors = (np.asarray(getattr(plain, a)["learning_time"]) for a in ("params", "stderr"))
    assert np.all(np.abs(found.params["learning_time"] - times) < 0.1 * errors)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_other_units_of_the_loss_give_the_same_event(scale):
    found, plain = fitter()(noisy() * np.float32(scale)), fitter()(noisy())
    errors = np.asarray(plain.stderr["learning_time"])
    assert np.all(np.abs(found.params["learning_time"] - plain.params["learning_time"]) < 0.02 * errors)
    np.testing.assert_allclose(found.rss, np.asarray(plain.rss) * scale**2, rtol=1e-3)
    np.testing.assert_array_equal(found.category, plain.category)


def test_the_reported_rss_is_that_of_the_reported_parameters():
    losses = noisy()
    found = fitter()(losses)
    params = {name: np.asarray(value, float)[:, None] for name, value in found.params.items()}
    residual = losses - sigmoid(AXIS, params)
    np.testing.assert_allclose(found.rss, np.sum(residual**2, axis=1), rtol=1e-3)
    spread = np.sum((losses - losses.mean(axis=1, keepdims=True)) ** 2, axis=1)
    np.testing.assert_allclose(found.r2, 1 - np.sum(residual**2, axis=1) / spread, rtol=1e-5)
    np.testing.assert_allclose(found.constant, losses.mean(axis=1), rtol=1e-6)
