"""Planted curves and compiled fits that the tests of the engine share: compiling is what costs time."""

import functools

import jax
import numpy as np
from scipy.optimize import least_squares

from tsl_jax import FitOptions, Sigmoid, fit
from tsl_jax.fitting import native
from tsl_jax.fitting.kernel_choice import with_chosen_kernel

CHECKPOINTS, CURVES = 24, 16
SIGMOID = Sigmoid()
AXIS = np.geomspace(1.0, 1e4, CHECKPOINTS)
#: The curves here are easy.
ONE_START = FitOptions(starts=1)


def truth(num=CURVES):
    """Events across the window, a quarter of them rising; named parameters, each (curves, 1)."""
    k = np.arange(num)[:, None]
    drop = np.linspace(2.0, 6.0, num)[:, None]
    rises = k % 4 == 3
    return {
        "learning_time": np.geomspace(8.0, 1200.0, num)[:, None],
        "sharpness": 1.0 + 0.5 * (k % 3),
        "loss_drop": np.where(rises, -drop, drop),
        "final_loss": np.where(rises, 1.0 + drop, 1.0),
    }


def sigmoid(axis, params):
    """The token law on a log scale in NumPy: independent of `tsl_jax`."""
    z = params["sharpness"] * (np.log(axis) - np.log(params["learning_time"]))
    return params["final_loss"] + params["loss_drop"] / (1 + np.exp(z))


def clean(dtype=np.float32):
    """(CURVES, CHECKPOINTS) losses without noise."""
    return sigmoid(AXIS, truth()).astype(dtype)


def noisy(seed=0, noise=0.05, dtype=np.float32):
    """(CURVES, CHECKPOINTS) losses with Gaussian noise of this standard deviation (nat)."""
    rng = np.random.default_rng(seed)
    return (sigmoid(AXIS, truth()) + noise * rng.standard_normal((CURVES, CHECKPOINTS))).astype(dtype)


def fitter(family=SIGMOID, options=ONE_START, axis=AXIS):
    """``f(losses, weights=None)`` giving a `Fit` of NumPy arrays, compiled once for each shape and dtype."""

    def call(losses, weights=None):
        dtype = np.promote_types(losses.dtype, np.float32) if jax.config.jax_enable_x64 else np.float32
        chosen = with_chosen_kernel(family, options, dtype)  # a program keeps the kernel with which it was traced
        compiled = _compiled(family, chosen, tuple(axis.tolist()))
        return jax.tree.map(np.asarray, compiled(losses, weights))

    return call


@functools.cache
def _compiled(family, options, axis):
    def fit_on_axis(losses, weights):
        return fit(family, np.array(axis), losses, weights, options=options)

    return jax.jit(fit_on_axis)


def options_of(kernel, **options):
    """Options with a kernel of `native.TARGETS`, of which users know one."""
    chosen = FitOptions(kernel="native" if kernel in native.TARGETS else kernel, **options)
    object.__setattr__(chosen, "kernel", kernel)
    return chosen


def scipy_fit(losses, start, axis=AXIS, **options):
    """Least squares by scipy in float64: (learning_time, sharpness, loss_drop, final_loss) and the rss."""
    u = np.log(axis)

    def residual(p):
        return p[3] + p[2] / (1 + np.exp(p[1] * (u - p[0]))) - losses

    options = {"method": "lm", "xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14} | options
    found = least_squares(residual, [np.log(start[0]), *start[1:]], **options)
    return np.array([np.exp(found.x[0]), *found.x[1:]]), 2 * found.cost


def same_bits(left, right, curves=slice(None)):
    """Whether all arrays of two fits agree bit for bit (NaN equals NaN) in these curves."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.asarray(a)[curves].tobytes() == np.asarray(b)[curves].tobytes() for a, b in pairs)


def assert_same_minimum(left, right, dtype=np.float32, curves=slice(None)):
    """Two fits of the same curves agree: status, rss, and parameters in units of their standard errors."""
    from tests.tolerances import RSS, SAME_MINIMUM

    np.testing.assert_array_equal(np.asarray(left.status)[curves], np.asarray(right.status)[curves])
    np.testing.assert_array_equal(np.asarray(left.num_points)[curves], np.asarray(right.num_points)[curves])
    np.testing.assert_allclose(
        np.asarray(left.rss)[curves], np.asarray(right.rss)[curves], rtol=RSS.of(dtype), err_msg="rss"
    )
    for name, value in right.params.items():
        apart = np.abs(np.asarray(left.params[name]) - np.asarray(value))[curves]
        unit = np.asarray(right.stderr[name])[curves]
        known = np.isfinite(unit)
        assert np.all(apart[known] <= SAME_MINIMUM.of(dtype) * unit[known]), (
            name,
            (apart / unit)[known].max(),
        )
