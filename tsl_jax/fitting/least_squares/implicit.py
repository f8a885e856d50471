"""The solved problem, differentiable by the implicit function theorem, with its covariance."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.dtypes import float0
from jaxtyping import Array, Bool, Float, PyTree

from ...jax_switches import with_own_switches
from ...linalg.small import jacobi_svd, solve, triangle, upper_inverse
from ..codes import Status, has_parameters
from ..scaling import column_norms
from .losses import residual_variance, rooted_loss
from .options import LeastSquaresOptions
from .problem import flatten
from .result import LeastSquaresFit
from .steps import converged, linearise, minimise, stationary


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


def fit_problem(residual, options, p0, lower, upper, weights, args) -> LeastSquaresFit:
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
    end = jnp.where(jnp.any(point.active), Status.AT_BOUND, Status.CONVERGED)
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
