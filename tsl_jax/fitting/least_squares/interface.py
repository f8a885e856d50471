"""Levenberg-Marquardt for residuals of any form, differentiable by the implicit function theorem."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.dtypes import float0
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt8

from ...arguments import real_array, real_number, whole_number
from ...curves import native
from ...devices import a_device
from ...jax_switches import with_own_switches
from ...linalg.small import jacobi_svd, solve, triangle, upper_inverse
from ..result import Status, has_parameters
from ..scaling import column_norms
from .losses import LOSSES, residual_variance, rooted_loss
from .problem import flatten, float_leaves, full_bounds
from .steps import converged, linearise, minimise, stationary

#: Residuals whose compiled programs are kept: some 11 MiB each.
MOST_PROGRAMS = 32


@dataclasses.dataclass(frozen=True)
class LeastSquaresOptions:
    """Options of `least_squares`.

    Args:
        max_steps: most steps tried, each with one residual and Jacobian; a problem that needs more gets
            `Status.MAX_STEPS` and the best point found.
        tolerance: converged when an undamped step would lower the rss by less than this fraction (were the
            residual linear). ``None`` (default): 1e-8 in float32, 1e-20 in float64, which leaves parameters
            within about 1e-4 and 1e-10 of a standard error from the minimum, or as close as rounding allows.
        initial_radius: length of the first step at most, relative to the start, both in parameters scaled by
            the column norms of the Jacobian. Smaller for starts from which full steps run away.
        loss: ``"linear"``, plain least squares; or, for residuals with outliers, ``"huber"`` or ``"soft_l1"``, as in
            `scipy.optimize.least_squares`: ``Σ f² ρ(w r²/f²)`` with f the `f_scale` and ``ρ(z) = z``; ``z`` up to 1
            and ``2√z - 1`` beyond; ``2(√(1 + z) - 1)``.
        f_scale: weighted residuals below it are taken for good ones; without effect on ``"linear"``.

    Raises:
        ValueError: an option is outside its range; the message names it and the range.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> def residual(p):  # Rosenbrock's valley
        ...     return jnp.array([1 - p[0], 10 * (p[1] - p[0] ** 2), 0.0])
        >>> options = tsl.LeastSquaresOptions(max_steps=2)
        >>> short = tsl.least_squares(residual, jnp.array([-1.2, 1.0]), options=options)
        >>> tsl.Status(int(short.status)).name, int(short.num_steps)
        ('MAX_STEPS', 2)
    """

    max_steps: int = 2000
    tolerance: float | None = None
    initial_radius: float = 1.0
    loss: Literal["linear", "huber", "soft_l1"] = "linear"
    f_scale: float = 1.0

    def __post_init__(self) -> None:
        whole_number("LeastSquaresOptions.max_steps", self.max_steps)
        for name in ("tolerance", "initial_radius", "f_scale"):
            value = getattr(self, name)
            expected = "a positive number" + " or None" * (name == "tolerance")
            if (
                not (name == "tolerance" and value is None)
                and not real_number(f"LeastSquaresOptions.{name}", value, expected) > 0
            ):
                raise ValueError(f"LeastSquaresOptions.{name}: got {value!r}, expected {expected}")
        if self.f_scale == float("inf"):
            raise ValueError(f"LeastSquaresOptions.f_scale: got {self.f_scale!r}, expected a finite number")
        if self.loss not in LOSSES:
            raise ValueError(f"LeastSquaresOptions.loss: got {self.loss!r}, expected 'linear', 'huber' or 'soft_l1'")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LeastSquaresFit:
    """Result of `least_squares`; every array gets the leading axes of `vmap`.

    Attributes:
        params: parameters, a pytree like ``p0``; NaN where `status` says there is no fit.
        stderr: their standard errors, a pytree like ``p0``; NaN for a parameter on a bound (the others' are
            then given that value), where the data do not determine it, and with as many points as parameters:
            there are no degrees of freedom then, and nothing says how large the noise is.
        covariance: ``s² (J'WJ)^-1`` with ``s² = rss / (num_points - p)``, for a robust loss
            ``s² = Σ ψ² / (num_points - p) / (mean ψ')²`` (Huber 1981), ψ half the derivative of the loss; in the
            order of `jax.flatten_util.ravel_pytree`; NaN as in `stderr`.
        rss: what the fit minimises, the (weighted) sum of squared residuals or of their robust loss: twice SciPy's
            cost. 0 also where it is below the smallest number of its type.
        num_points: residuals that count: all, or those of positive weight.
        status: `Status`, a small integer.
        num_steps: steps tried.

    Example:
        >>> import jax, jax.numpy as jnp, tsl_jax as tsl
        >>> def residual(p, x, y):
        ...     return p["slope"] * x + p["level"] - y
        >>> x, y = jnp.arange(5.0), jnp.array([[1.0, 2.1, 2.9, 4.1, 4.9], [0.0, 0.1, 0.0, -0.1, 0.0]])
        >>> fit = jax.vmap(lambda y: tsl.least_squares(residual, {"slope": 0.0, "level": 0.0}, x, y))(y)
        >>> fit.covariance.shape
        (2, 2, 2)
        >>> [round(float(slope), 2) for slope in fit.params["slope"]]
        [0.98, -0.02]
    """

    params: PyTree[Float[Array, "..."]]
    stderr: PyTree[Float[Array, "..."]]
    covariance: Float[Array, "*batch p p"]
    rss: Float[Array, "*batch"]
    num_points: Int[Array, "*batch"]
    status: UInt8[Array, "*batch"]
    num_steps: Int[Array, "*batch"]


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
    return jax.jit(functools.partial(_fit, residual, options))


def _shape_of(residual, p0, args) -> Any:
    """The shape of the residuals, found without computing them."""
    try:
        return jax.eval_shape(residual, p0, *args)
    except TypeError as error:
        if not isinstance(p0, list | tuple):
            raise
        kind = type(p0).__name__
        raise TypeError(
            f"residual: failed on p = a {kind} of {len(p0)} arrays, which it is given since p0 is a {kind} ({error}); "
            "if it wants one array, give p0 as np.asarray(p0)"
        ) from error


def _fit(residual, options, p0, lower, upper, weights, args) -> LeastSquaresFit:
    shape = _shape_of(residual, p0, args)
    if not hasattr(shape, "ndim") or shape.ndim != 1 or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise ValueError(f"residual: got {shape}, expected one real array of shape (m,); ravel and join its parts")
    if weights is not None and jnp.shape(weights) != shape.shape:
        raise ValueError(f"weights: got shape {jnp.shape(weights)}, expected one a residual, {shape.shape}")
    dtype = jnp.result_type(*jax.tree.leaves(p0), shape, jnp.float32)
    start, unravel = flatten(p0, dtype)
    lower, upper = flatten(lower, dtype)[0], flatten(upper, dtype)[0]

    # Arrays that the residual closes over become arguments, so that derivatives see them.
    pure, hoisted = jax.closure_convert(lambda q, args: residual(unravel(q), *args), start, args)

    def weighted(q, data):
        weights, args, hoisted = data
        values = pure(q, args, *hoisted).astype(dtype)
        if weights is None:
            return values
        root = jnp.sqrt(jnp.where(weights > 0, weights, 1.0).astype(dtype))
        # A negative weight is NaN on purpose: the problem then ends as NON_FINITE.
        return jnp.where(weights > 0, values * root, jnp.where(weights < 0, jnp.nan, 0.0))

    counted = jnp.ones(shape.shape, bool) if weights is None else weights > 0
    num_points = jnp.sum(counted, dtype=jnp.int32)
    data = (weights, args, hoisted)
    rooted = _rooted(weighted, options)
    enough = num_points >= start.shape[0]
    params, status, num_steps, free, scale = _solve(rooted, options, enough, start, lower, upper, data)
    fitted = has_parameters(status)
    # Where there is no fit, cotangents must not meet the data's NaN: 0·NaN would be NaN.
    data = _constant_where(~fitted, data)
    values, jacobian = linearise(lambda q: weighted(q, data), jnp.where(fitted, params, start))
    values, jacobian, f_scale = scale * values, scale * jacobian, scale * options.f_scale
    rss = jnp.sum(jnp.square(rooted_loss(options.loss, f_scale, values))) / scale / scale
    freedom = num_points - start.shape[0]
    variance = residual_variance(options.loss, f_scale, values, counted, jnp.maximum(freedom, 1).astype(dtype))
    gram, norms, known = _inverse_gram(jnp.where(fitted & free[None, :], jacobian, 0.0))
    known &= fitted & (freedom > 0) & ~jnp.isnan(variance)
    gram = variance * gram
    covariance = jnp.where(known[:, None] & known[None, :], gram / norms[:, None] / norms[None, :], jnp.nan)
    variances = jnp.where(known & (jnp.diag(gram) > 0), jnp.diag(gram), 1.0)
    stderr = jnp.where(known, jnp.where(jnp.diag(gram) > 0, jnp.sqrt(variances) / norms, 0.0), jnp.nan)
    rss = jnp.where(fitted, rss, jnp.nan)
    return LeastSquaresFit(unravel(params), unravel(stderr), covariance, rss, num_points, status, num_steps)


def _rooted(weighted: Callable, options: LeastSquaresOptions) -> Callable:
    """What the search minimises the sum of squares of."""
    if options.loss == "linear":
        return weighted
    return lambda q, data: rooted_loss(options.loss, options.f_scale, weighted(q, data))


def _constant_where(constant, tree: PyTree) -> PyTree:
    """The tree, its real leaves without derivative where ``constant``."""

    def leaf(x):
        return jnp.where(constant, jax.lax.stop_gradient(x), x) if jnp.issubdtype(x.dtype, jnp.inexact) else x

    return jax.tree.map(leaf, tree)


def _inverse_gram(
    jacobian: Float[Array, "m p"],
) -> tuple[Float[Array, "p p"], Float[Array, " p"], Bool[Array, " p"]]:
    """``(J'J)^-1`` of J with columns of length 1, without forming ``J'J``; lengths; which parameters J determines."""
    norms = column_norms(jacobian)
    norms = jnp.where(norms > 0, norms, 1.0)
    factor = triangle(jacobian / norms)
    # Directions without effect get a unit row each, so that the triangle can be inverted.
    _, sizes, axes = jacobi_svd(jax.lax.stop_gradient(factor))
    eps = jnp.finfo(jacobian.dtype).eps
    unseen = jnp.where((sizes <= max(jacobian.shape) * eps * jnp.max(sizes))[:, None], axes, 0.0)
    inverse = upper_inverse(triangle(jnp.concatenate([factor, unseen])))
    known = jnp.all(jnp.abs(unseen) <= jnp.sqrt(eps), axis=0)
    return inverse @ inverse.T, norms, known


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _solve(residual, options, ready, start, lower, upper, data):
    """Runs the loop; returns parameters, status, number of steps, which parameters are free to move, and the scale."""
    tolerance = options.tolerance or (1e-20 if start.dtype == jnp.float64 else 1e-8)
    state = minimise(
        lambda q: residual(q, data),
        jnp.clip(start, lower, upper),
        lower,
        upper,
        ready,
        max_steps=options.max_steps,
        tolerance=tolerance,
        radius=options.initial_radius,
    )
    point = state.point
    ended = converged(point, tolerance) | (state.stalled & stationary(point))
    end = jnp.where(jnp.any(point.held), Status.AT_BOUND, Status.CONVERGED)
    status = jnp.where(ended, end, Status.MAX_STEPS)
    status = jnp.where(point.finite & jnp.all(jnp.isfinite(point.params)), status, Status.NON_FINITE)
    status = jnp.where(ready, status, Status.TOO_FEW_POINTS).astype(jnp.uint8)
    params = jnp.where(has_parameters(status), point.params, jnp.nan)
    return params, status, jnp.maximum(state.steps, 0), point.free, jnp.where(state.scale > 0, state.scale, 1)


@_solve.defjvp
@with_own_switches
def _solve_derivative(residual, options, primals, tangents):
    """Implicit function theorem: the free gradient stays zero, ``H·dp + ∂(J'r)/∂data · ddata = 0``."""
    ready, start, lower, upper, data = primals
    _, _, lower_dot, upper_dot, data_dot = tangents
    params, status, steps, free, scale = _solve(residual, options, ready, start, lower, upper, data)
    fitted = has_parameters(status)
    at = jnp.where(fitted, params, start)
    free = free & fitted

    def gradient(q, data):
        values, jacobian = linearise(lambda v: scale * residual(v, data), q)
        return jacobian.T @ values

    with_bound = jnp.where(params <= lower, lower_dot, jnp.where(params >= upper, upper_dot, 0.0))
    with_bound = jnp.where(fitted & ~free, with_bound, 0.0)
    data_dot = jax.tree.map(lambda t: t if t.dtype == float0 else jnp.where(fitted, t, jnp.zeros_like(t)), data_dot)
    _, pull = jax.jvp(gradient, (at, data), (with_bound, data_dot))
    hessian = jax.jacfwd(gradient)(at, data)
    both = free[:, None] & free[None, :]
    size = jax.lax.stop_gradient(jnp.sqrt(jnp.abs(jnp.diag(hessian))))
    size = jnp.where(free & (size > 0), size, 1.0)
    hessian = jnp.where(both, hessian / jnp.outer(size, size), jnp.eye(len(size), dtype=size.dtype))
    moved = -solve(hessian, jnp.where(free, pull, 0.0) / size) / size
    params_dot = jnp.where(free, moved, with_bound)
    still = (np.zeros(jnp.shape(out), float0) for out in (status, steps, free))
    return (params, status, steps, free, scale), (params_dot, *still, jnp.zeros_like(scale))
