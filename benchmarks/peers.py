"""`tsl_jax` and its peers behind one interface: losses in, named parameters out.

All peers get the same data-driven start and the same four parameters (both plateaus, the event in units of
the window, the logarithm of the sharpness); JAX peers run under ``jit(vmap)`` in blocks, SciPy curve by curve
with the analytic Jacobian. None of the peers bounds the plateaus, which can only lower their rss.
"""

import functools
import importlib.metadata
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from .problems import Problem

#: Curves that JAX peers fit together: larger blocks wait longer for their slowest curve.
_BLOCK = 512
#: Half as many steps: twice as fast, 4 to 8% fewer solved. Twice as many: half as fast, 1 to 2% more.
_MAX_STEPS = 50
_START_SHARPNESS = 32.0

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


def start(x, losses, xp):
    """Start of one curve: the best split into two plateaus; ``xp`` is `numpy` or `jax.numpy`.

    Returns (before, after, event, log sharpness).
    """
    num = losses.shape[-1]
    before_num = xp.arange(1, num)
    total = xp.cumsum(losses, -1)
    before = total[..., :-1] / before_num
    after = (total[..., -1:] - total[..., :-1]) / (num - before_num)
    k = xp.argmax((before - after) ** 2 * before_num * (num - before_num), -1)
    return xp.stack([before[k], after[k], 0.5 * (x[k] + x[k + 1]), xp.log(x[k] * 0 + _START_SHARPNESS)])


def model(x, p, xp):
    """The sigmoid in the peers' parameters."""
    return p[1] + (p[0] - p[1]) * 0.5 * (1 - xp.tanh(0.5 * xp.exp(p[3]) * (x - p[2])))


def named(problem: Problem, p: np.ndarray) -> dict[str, np.ndarray]:
    """The peers' parameters (curves, 4) as the sigmoid's named ones."""
    p = np.asarray(p, float)
    unit = problem.u[-1] - problem.u[0]
    u_learn = problem.u[0] + unit * p[:, 2]
    with np.errstate(over="ignore"):
        return {
            "learning_time": np.exp(u_learn) if problem.scale == "log" else u_learn,
            "sharpness": np.exp(p[:, 3]) / unit,
            "loss_drop": p[:, 0] - p[:, 1],
            "final_loss": p[:, 1],
        }


def scipy_curve_fit(problem: Problem) -> Run:
    """`scipy.optimize.curve_fit` (MINPACK's Levenberg-Marquardt), float64."""
    from scipy.optimize import OptimizeWarning, curve_fit

    x = problem.x

    def jacobian(x, *p):
        z = np.exp(p[3]) * (x - p[2])
        s = 0.5 * (1 - np.tanh(0.5 * z))
        slope = (p[0] - p[1]) * s * (1 - s)
        return np.stack([s, 1 - s, slope * np.exp(p[3]), -slope * z], 1)

    def fit_one(losses):
        first = start(x, losses, np)
        try:
            return curve_fit(lambda x, *p: model(x, p, np), x, losses, first, method="lm", jac=jacobian, maxfev=1000)[0]
        except RuntimeError:  # how curve_fit says that it did not converge
            return first

    def run(losses):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", OptimizeWarning)
            return named(problem, np.array([fit_one(curve) for curve in losses.astype(float)]))

    return run


def jaxopt_lm(problem: Problem) -> Run:
    """`jaxopt.LevenbergMarquardt`, float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import jaxopt

    solver = jaxopt.LevenbergMarquardt(
        lambda p, x, losses: model(x, p, jnp) - losses,
        maxiter=_MAX_STEPS,
        tol=1e-5,
        xtol=1e-5,
        gtol=1e-5,
        materialize_jac=True,
        solver="cholesky",
        implicit_diff=False,
        damping_parameter=1e-3,
    )
    return _in_blocks(problem, lambda x, losses: solver.run(start(x, losses, jnp), x, losses).params)


def optimistix_lm(problem: Problem) -> Run:
    """`optimistix.LevenbergMarquardt`, float32."""
    import lineax
    import optimistix

    solver = optimistix.LevenbergMarquardt(rtol=1e-4, atol=1e-4, linear_solver=lineax.QR())

    def fit_one(x, losses):
        return optimistix.least_squares(
            lambda p, _: model(x, p, jnp) - losses,
            solver,
            start(x, losses, jnp),
            max_steps=_MAX_STEPS,
            throw=False,
        ).value

    return _in_blocks(problem, fit_one)


def _in_blocks(problem: Problem, fit_one) -> Run:
    x = jnp.asarray(problem.x, jnp.float32)
    fit_block = jax.jit(jax.vmap(fit_one, in_axes=(None, 0)))

    def run(losses):
        padded = np.pad(losses, ((0, -len(losses) % _BLOCK), (0, 0)), mode="wrap").astype(np.float32)
        parts = [fit_block(x, padded[i : i + _BLOCK]) for i in range(0, len(padded), _BLOCK)]
        return named(problem, np.concatenate(parts)[: len(losses)])

    return run


@functools.cache
def _compiled_fit(family):
    # One function a family, so that problems of one size share what was compiled.
    from tsl_jax.lm import fit

    return jax.jit(lambda time, losses: fit(family, time, losses))


def tsl_jax_fit(problem: Problem) -> Run:
    """`tsl_jax.lm.fit`, float32, default options; a flat curve, without parameters, has no drop."""
    from tsl_jax.curves import FAMILIES
    from tsl_jax.lm import has_parameters

    fit = _compiled_fit(FAMILIES[problem.family](scale=problem.scale))
    time = jnp.asarray(problem.time)

    def run(losses):
        found = jax.block_until_ready(fit(time, losses))
        has = has_parameters(np.asarray(found.status))
        flat = {
            "learning_time": 1.0,
            "sharpness": 1.0,
            "loss_drop": 0.0,
            "final_loss": np.asarray(found.constant),
        }
        return {name: np.where(has, np.asarray(value), flat[name]) for name, value in found.params.items()}

    return run


#: name: (adapter, distribution whose version is reported)
METHODS: dict[str, tuple[Callable[[Problem], Run], str]] = {
    "tsl_jax": (tsl_jax_fit, "tsl_jax"),
    "jaxopt": (jaxopt_lm, "jaxopt"),
    "optimistix": (optimistix_lm, "optimistix"),
    "scipy": (scipy_curve_fit, "scipy"),
}


def version(method: str) -> str:
    """Version of the distribution behind a method."""
    return importlib.metadata.version(METHODS[method][1])
