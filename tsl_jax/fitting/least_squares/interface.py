"""Levenberg-Marquardt for residuals of any form, differentiable by the implicit function theorem."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float, PyTree

from ...arguments import real_array
from ...curves import native
from ...devices import a_device
from ...jax_switches import with_own_switches
from .implicit import fit_problem
from .options import LeastSquaresOptions
from .problem import float_leaves, full_bounds
from .result import LeastSquaresFit

#: Residuals whose compiled programs are kept: some 11 MiB each.
MOST_PROGRAMS = 32


@with_own_switches
def least_squares(
    residual: Callable[..., Float[Array, " m"]],
    p0: PyTree,
    *args: Any,
    bounds: tuple[Any, Any] | None = None,
    weights: Float[Array, " m"] | None = None,
    options: LeastSquaresOptions = LeastSquaresOptions(),
) -> LeastSquaresFit:
    """Fits the parameters of any residual by Levenberg-Marquardt, within bounds.

        ``params = argmin_p Σ_i weights_i · residual_i(p, *args)²,  lower <= p <= upper``

    or a robust loss instead of the square: `LeastSquaresOptions.loss`.

    One problem of up to about 10 parameters; `jax.vmap` fits many. A converged result is differentiable,
    forwards, backwards and repeatedly, in ``args``, ``weights``, the bounds and what ``residual`` closes
    over, by the implicit function theorem: the steps are not unrolled. A parameter on a bound moves with the
    bound and with nothing else; the derivative in ``p0`` is zero. Compiled once per function, shapes and
    options: define ``residual`` once and pass the data by ``args``. A new lambda a call is compiled each time; the
    programs of the last 32 functions are kept, some 10 MiB each.

    Args:
        residual: ``residual(p, *args)``, a JAX function of ``p`` (like ``p0``) to an array (m,). A trial at
            which it is not finite is a step refused.
        p0: start, an array or any pytree of real numbers. Computed in the widest type of ``p0`` and the
            residual, at least float32.
        *args: data of the residual, any pytrees of arrays.
        bounds: ``(lower, upper)``, each a pytree like ``p0`` (a leaf may be one number or None), one number,
            or None for no bound. Where the numbers are traced, a start outside its bounds is moved onto them.
        weights: (m,) not negative. Points of weight 0 or NaN are left out, whatever the residual there.
        options: `LeastSquaresOptions`.

    Returns:
        `LeastSquaresFit`. Its status is `Status.CONVERGED`; `Status.AT_BOUND` if then a bound holds a
        parameter; `Status.MAX_STEPS` if the step limit came first or no step that can be resolved leads on
        (best point kept); or, with NaN parameters, `Status.NON_FINITE` (residual, Jacobian or sum of squares
        not finite at the start, or a negative weight) or `Status.TOO_FEW_POINTS` (fewer than parameters).

    Raises:
        ValueError: ``p0`` empty or not finite; bounds of another structure or in the wrong order; a start outside its
            bounds; ``residual`` or ``weights`` not of shape (m,) and real.
        TypeError: ``p0``, a bound or ``weights`` are no real numbers; ``residual`` is no hashable function; the
            options are of another type. What ``residual`` itself raises comes as it is.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> def residual(p, x, y):
        ...     return p["height"] * jnp.exp(-p["rate"] * x) - y
        >>> x = jnp.linspace(0.0, 4.0, 20)
        >>> y = 3.0 * jnp.exp(-0.5 * x) + 0.01 * jnp.cos(40 * x)
        >>> fit = tsl.least_squares(residual, {"height": 1.0, "rate": 1.0}, x, y, bounds=(0.0, None))
        >>> f"{fit.params['rate']:.2f} +- {fit.stderr['rate']:.3f}, {tsl.Status(int(fit.status)).name}"
        '0.50 +- 0.001, CONVERGED'

    Source: Moré 1978 (trust region, scaling), checked on the NIST StRD problems.
    """
    try:
        hash(residual)
    except TypeError as error:
        raise TypeError(f"residual: got {type(residual).__name__}, expected a hashable function") from error
    if not callable(residual):
        raise TypeError(f"residual: got {type(residual).__name__}, expected a function of the parameters")
    if not isinstance(options, LeastSquaresOptions):
        raise TypeError(f"options: got {type(options).__name__}, expected tsl_jax.LeastSquaresOptions(...)")
    a_device()
    weights = None if weights is None else native(real_array("weights", weights, boolean=True))
    args = jax.tree.map(native, args)
    p0 = float_leaves(p0)
    lower, upper = full_bounds(bounds, p0)
    return _program(residual, options)(p0, lower, upper, weights, args)


@functools.lru_cache(maxsize=MOST_PROGRAMS)
def _program(residual, options):
    """The compiled problem; the oldest are forgotten, with what they hold."""
    return jax.jit(functools.partial(fit_problem, residual, options))
