"""Many small problems by one loop on the host: XLA compiles a curve and its slopes, not the search around them."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ..codes import Status
from .result import LeastSquaresFit

#: What the undamped step wins, of the rss, where a search ends; and the damping that no step lowers the rss with.
_TOLERANCE, _MOST_DAMPING = 1e-14, 1e14
#: Least damping: below it columns of length 1 that are one column are no matrix to solve by.
_LEAST_DAMPING = 1e-14
#: Directions along which the slopes are smaller than the rounding of float32, as users give values, are not determined.
_EPS = float(np.finfo(np.float32).eps)


def fit_on_host(
    curve: Callable[..., tuple[Float[np.ndarray, "*batch n"], Float[np.ndarray, "*batch n p"]]],
    start: Float[np.ndarray, "*batch p"],
    values: Float[np.ndarray, "*#batch n"],
    weights: Float[np.ndarray, "*#batch n"],
    bounds: tuple[Float[np.ndarray, "*#batch p"], Float[np.ndarray, "*#batch p"]],
    *,
    max_steps: int,
) -> LeastSquaresFit:
    """`tsl_jax.least_squares` of ``√weights (curve(params) - values)``, of all problems of a batch, in float64.

    Levenberg-Marquardt on the normal equations of columns of length 1, damped by Nielsen's rule.

    Args:
        curve: of params (\\*batch, p), to values and their slopes in the params.
        start: (\\*batch, p).
        values: (\\*batch, n), anything where the weight is 0.
        weights: (\\*batch, n).
        bounds: lower and upper, (\\*batch, p).
        max_steps: steps tried.

    Source: H. B. Nielsen, Damping parameter in Marquardt's method, report IMM-REP-1999-05, DTU 1999.
    """
    (lower, upper), root, size = bounds, np.sqrt(weights), start.shape[-1]

    def at(params):
        found, slopes = curve(params)
        return np.where(root > 0, root * (found - values), 0), np.where(
            root[..., None] > 0, root[..., None] * slopes, 0
        )

    params = np.clip(start, lower, upper)
    left, slopes = at(params)
    rss, points = np.sum(np.square(left), -1), np.broadcast_to(np.sum(weights > 0, -1), start.shape[:-1])
    damping, factor = np.full(rss.shape, 1e-3), np.full(rss.shape, 2.0)
    ended, steps = points < size, np.zeros(rss.shape, np.int32)
    while True:
        gradient, norms = np.sum(slopes * left[..., None], -2), np.sqrt(np.sum(np.square(slopes), -2))
        active = ((params <= lower) & (gradient > 0)) | ((params >= upper) & (gradient < 0))
        free = ~active & (norms > 0)
        unit = np.where(free, norms, 1)
        columns = np.where(free[..., None, :], slopes / unit[..., None, :], 0)
        gram = np.swapaxes(columns, -1, -2) @ columns + np.eye(size) * ~free[..., None, :]
        along = np.where(free, gradient / unit, 0)
        gain = np.sum(along * _damped(gram, along, _TOLERANCE), -1)
        won = gain <= _TOLERANCE * rss
        ended = ended | won | ~np.isfinite(rss) | (damping > _MOST_DAMPING) | (steps >= max_steps)
        if ended.all():
            break
        step = _damped(gram, along, damping)
        trial = np.where(ended[..., None], params, np.clip(params - step / unit, lower, upper))
        predicted = np.sum(step * (along + damping[..., None] * step), -1)
        its_left, its_slopes = at(trial)
        its_rss = np.sum(np.square(its_left), -1)
        better = ~ended & (its_rss < rss)
        ratio = (rss - its_rss) / np.where(predicted > 0, predicted, 1)
        calmed = damping * np.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
        calmed = np.maximum(calmed, _LEAST_DAMPING)
        damping, factor = np.where(better, calmed, damping * factor), np.where(better, 2.0, 2 * factor)
        params, rss = np.where(better[..., None], trial, params), np.where(better, its_rss, rss)
        left, slopes = (
            np.where(better[..., None], its_left, left),
            np.where(better[..., None, None], its_slopes, slopes),
        )
        steps = steps + ~ended
    won |= gain <= np.sqrt(_TOLERANCE) * rss  # as far as steps can be resolved
    status = np.where(won, np.where(np.any(active, -1), Status.AT_BOUND, Status.CONVERGED), Status.MAX_STEPS)
    status = np.where(np.isfinite(rss) & np.all(np.isfinite(params), -1), status, Status.NON_FINITE)
    status = np.where(points < size, Status.TOO_FEW_POINTS, status).astype(np.uint8)
    fitted = (status != Status.NON_FINITE) & (status != Status.TOO_FEW_POINTS)
    covariance = _covariance(np.where(fitted[..., None, None], columns, 0), unit, free, rss, points - size)
    stderr = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    params, rss = np.where(fitted[..., None], params, np.nan), np.where(fitted, rss, np.nan)
    return LeastSquaresFit(params, stderr, covariance, rss, points.astype(np.int32), status, steps)  # pyright: ignore


def _damped(gram, along, damping):
    """The step, in units of the columns' lengths."""
    raised = gram + np.asarray(damping)[..., None, None] * np.eye(gram.shape[-1])
    safe = np.where(np.isfinite(raised), raised, np.eye(gram.shape[-1]))
    return np.linalg.solve(safe, np.where(np.isfinite(along), along, 0)[..., None])[..., 0]


def _covariance(columns, unit, free, rss, freedom):
    """``s² (J'J)^-1``; NaN for what is held by a bound, or what J does not determine."""
    _, sizes, axes = np.linalg.svd(np.where(np.isfinite(columns), columns, 0), full_matrices=False)
    seen = sizes > max(columns.shape[-2:]) * _EPS * np.max(sizes, -1, keepdims=True)
    known = np.all(np.where(seen[..., None], 0, np.abs(axes)) <= np.sqrt(_EPS), -2) & free & (freedom > 0)[..., None]
    scaled = np.where(seen[..., None], axes / np.where(seen, sizes, 1)[..., None], 0) / unit[..., None, :]
    variance = rss / np.maximum(freedom, 1)
    covariance = variance[..., None, None] * (np.swapaxes(scaled, -1, -2) @ scaled)
    return np.where(known[..., None] & known[..., None, :], covariance, np.nan)
