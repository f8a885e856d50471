"""`tsl_jax` and its peers behind one interface: losses in, named parameters out.

All peers get the same data-driven start and the same free parameters (`benchmarks models`); JAX peers run under
``jit(vmap)`` in blocks, SciPy curve by curve with the analytic Jacobian, Gpufit (`benchmarks gpufit`) through its C
interface. None of the peers bounds the plateaus, which can only lower their rss.
"""

import dataclasses
import functools
import importlib.metadata
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .gpufit import gpufit, gpufit_version
from .models import MODELS
from .problems import Problem

#: Curves that JAX peers fit together: on a CPU larger blocks wait longer for their slowest curve.
_BLOCK, _BLOCK_ON_DEVICE = 512, 1 << 15
#: Half as many steps: twice as fast, 4 to 8% fewer solved. Twice as many: half as fast, 1 to 2% more.
_MAX_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Run:
    """A method ready to fit the curves of a problem.

    Attributes:
        fit: losses (curves, checkpoints) -> named parameters, each (curves,).
        program: for methods in JAX: losses of a block -> results, whose operations can be counted.
        block: curves of such a block; None: all together.
    """

    fit: Callable[[np.ndarray], dict[str, np.ndarray]]
    program: Callable[[Any], Any] | None = None
    block: int | None = None

    def __call__(self, losses: np.ndarray) -> dict[str, np.ndarray]:
        return self.fit(losses)


def scipy_curve_fit(problem: Problem) -> Run:
    """`scipy.optimize.curve_fit` (MINPACK's Levenberg-Marquardt), float64."""
    from scipy.optimize import OptimizeWarning, curve_fit

    model = MODELS[problem.family]
    x = model.coordinate(problem)

    def fit_one(losses):
        first = model.start(x, losses, np)
        try:
            found = curve_fit(
                lambda x, *p: model.curve(x, p, np),
                x,
                losses,
                first,
                method="lm",
                jac=lambda x, *p: model.jacobian(x, p),
                maxfev=1000,
            )
            return found[0]
        except RuntimeError:  # how curve_fit says that it did not converge
            return first

    def run(losses):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", OptimizeWarning)
            return model.named(problem, np.array([fit_one(curve) for curve in losses.astype(float)]))

    return Run(run)


def jaxopt_lm(problem: Problem) -> Run:
    """`jaxopt.LevenbergMarquardt`, float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import jaxopt

    model = MODELS[problem.family]
    solver = jaxopt.LevenbergMarquardt(
        lambda p, x, losses: model.curve(x, p, jnp) - losses,
        maxiter=_MAX_STEPS,
        tol=1e-5,
        xtol=1e-5,
        gtol=1e-5,
        materialize_jac=True,
        solver="cholesky",
        implicit_diff=False,
        damping_parameter=1e-3,
    )
    return _in_blocks(problem, lambda x, losses: solver.run(model.start(x, losses, jnp), x, losses).params)


def optimistix_lm(problem: Problem) -> Run:
    """`optimistix.LevenbergMarquardt`, float32."""
    import lineax
    import optimistix

    model = MODELS[problem.family]
    solver = optimistix.LevenbergMarquardt(rtol=1e-4, atol=1e-4, linear_solver=lineax.QR())

    def fit_one(x, losses):
        return optimistix.least_squares(
            lambda p, _: model.curve(x, p, jnp) - losses,
            solver,
            model.start(x, losses, jnp),
            max_steps=_MAX_STEPS,
            throw=False,
        ).value

    return _in_blocks(problem, fit_one)


def _in_blocks(problem: Problem, fit_one) -> Run:
    model = MODELS[problem.family]
    x = jnp.asarray(model.coordinate(problem), jnp.float32)
    fit_block = jax.jit(jax.vmap(fit_one, in_axes=(None, 0)))
    block = _BLOCK if jax.default_backend() == "cpu" else _BLOCK_ON_DEVICE

    def run(losses):
        padded = np.pad(losses, ((0, -len(losses) % block), (0, 0)), mode="wrap").astype(np.float32)
        parts = [fit_block(x, padded[i : i + block]) for i in range(0, len(padded), block)]
        return model.named(problem, np.concatenate(parts)[: len(losses)].astype(float))

    return Run(run, lambda losses: fit_block(x, losses), block)


@functools.cache
def _compiled_fit(family, kernel):
    # One function a family, so that problems of one size share what was compiled.
    from tsl_jax.fitting import FitOptions, fit

    return jax.jit(lambda time, losses: fit(family, time, losses, options=FitOptions(kernel=kernel)))


def tsl_jax_xla_fit(problem: Problem) -> Run:
    """`tsl_jax.fitting.fit` as on machines without a compiler."""
    return _tsl_jax_fit(problem, "xla")


def tsl_jax_fit(problem: Problem) -> Run:
    """`tsl_jax.fitting.fit` with its kernel in C++, on a GPU too, where there is a compiler for it."""
    from tsl_jax.curves import FAMILIES
    from tsl_jax.fitting import FitOptions, chosen_kernel

    try:
        kernel = chosen_kernel(FAMILIES[problem.family](), FitOptions(kernel="native"), jnp.float32)
    except ValueError:
        kernel = "xla"
    return _tsl_jax_fit(problem, kernel)


def _tsl_jax_fit(problem: Problem, kernel: str) -> Run:
    """Float32, default options; a flat curve, without parameters, has no drop."""
    from tsl_jax.curves import FAMILIES
    from tsl_jax.fitting import has_parameters

    fit = _compiled_fit(FAMILIES[problem.family](scale=problem.scale), kernel)
    time = jnp.asarray(problem.time)

    def run(losses):
        found = jax.block_until_ready(fit(time, losses))
        params = {name: np.asarray(value) for name, value in found.params.items()}
        if problem.family != "sigmoid":
            return params
        has = has_parameters(np.asarray(found.status))
        flat = {
            "learning_time": 1.0,
            "sharpness": 1.0,
            "loss_drop": 0.0,
            "final_loss": np.asarray(found.constant),
        }
        return {name: np.where(has, value, flat[name]) for name, value in params.items()}

    return Run(run, lambda losses: fit(time, losses))


def gpufit_lm(problem: Problem) -> Run:
    """Gpufit or Cpufit from the library that the environment names, float32."""
    return Run(gpufit(problem))


#: name: (adapter, distribution whose version is reported)
METHODS: dict[str, tuple[Callable[[Problem], Run], str]] = {
    "tsl_jax": (tsl_jax_fit, "tsl_jax"),
    "tsl_jax_xla": (tsl_jax_xla_fit, "tsl_jax"),
    "jaxopt": (jaxopt_lm, "jaxopt"),
    "optimistix": (optimistix_lm, "optimistix"),
    "scipy": (scipy_curve_fit, "scipy"),
    "gpufit": (gpufit_lm, "gpufit"),
}


def version(method: str) -> str:
    """Version of the distribution behind a method."""
    return gpufit_version() if method == "gpufit" else importlib.metadata.version(METHODS[method][1])
