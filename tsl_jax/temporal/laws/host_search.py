"""The search of `search` on the host, by SciPy: XLA compiles the law and its slopes alone, not the loop around them.

Where values are known this is what `fit_law` does: a program of a second for one of ten, the same minimum.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...fitting import Status
from ..clock.schedule_rows import History
from .interface import ScheduleLaw
from .search import EXPONENTS, LEAST_START, REACH

#: SciPy's tolerances: float64 resolves more, no reader does.
_RELATIVE_COST, _RELATIVE_STEP = 1e-12, 1e-10


class HostFit(NamedTuple):
    """The best coordinates, as `LeastSquaresFit` has them, with the law there.

    Attributes:
        params: (p,) coordinates.
        stderr: their standard errors; NaN where the data do not determine one.
        covariance: of the coordinates.
        status: `Status` of the best start.
        log_law: (rows,) ln of the law.
        named: parameters by name.
        slope: of each named parameter in the coordinates, (p,).
    """

    params: Float[np.ndarray, " p"]
    stderr: Float[np.ndarray, " p"]
    covariance: Float[np.ndarray, "p p"]
    status: Status
    log_law: Float[np.ndarray, " rows"]
    named: dict[str, np.ndarray]
    slope: dict[str, np.ndarray]


def best_on_host(law: ScheduleLaw, options, history: History, loss, weights, centre, shrinkage) -> HostFit:
    """The best of several starts; arguments as those of `best_coordinates`, known, in float64 with x64 enabled."""
    from scipy.optimize import least_squares

    log_loss, root = np.log(loss), np.sqrt(np.maximum(weights, 0.0))
    counts, starts = root > 0, _starts(law, options, history, loss, root)

    def values(point):
        left = log_loss - np.asarray(_law(law, point, history)[0])
        rows = (root * robust_rows(left, options.huber)[0])[counts]
        return rows if shrinkage is None else np.concatenate([rows, shrinkage * (point - centre)])

    def slopes(point):
        log_law, slope, _, _ = _law(law, point, history)
        rate = robust_rows(log_loss - np.asarray(log_law), options.huber)[1]
        rows = (-(root * rate)[:, None] * np.asarray(slope))[counts]
        return rows if shrinkage is None else np.concatenate([rows, np.diag(shrinkage)])

    def refined(start):
        bounds = start - REACH, start + REACH
        given: dict[str, Any] = {"jac": slopes, "x_scale": "jac", "max_nfev": options.max_steps, "bounds": bounds}
        return least_squares(values, start, ftol=_RELATIVE_COST, xtol=_RELATIVE_STEP, gtol=_RELATIVE_COST, **given)

    found = [refined(start) for start in starts if np.all(np.isfinite(values(start)))]
    if not found:
        return _no_fit(law, len(loss))
    best = min(found, key=lambda fit: fit.cost)
    log_law, _, named, slope = jax.tree.map(np.asarray, _law(law, best.x, history))
    covariance = _covariance(best.jac, 2 * best.cost, best.active_mask == 0)
    status = Status.MAX_STEPS if best.status == 0 else Status.AT_BOUND if best.active_mask.any() else Status.CONVERGED
    return HostFit(best.x, np.sqrt(np.diag(covariance)), covariance, status, log_law, named, slope)


def _no_fit(law: ScheduleLaw, rows: int) -> HostFit:
    nothing, number = np.full(rows, np.nan), len(law.names)
    named, slope = ({name: np.full(shape, np.nan) for name in law.names} for shape in ((), number))
    covariance = np.full((number, number), np.nan)
    return HostFit(covariance[0], covariance[0], covariance, Status.NON_FINITE, nothing, named, slope)


@functools.partial(jax.jit, static_argnums=0)
def _law(law, coordinates, history):
    """ln of the law, its slopes in the coordinates; the named parameters and theirs."""

    def log_law(point):
        return jnp.log(law.predict(law.named(point), history))

    slopes = jax.vmap(jax.linearize(log_law, coordinates)[1], out_axes=1)(jnp.eye(len(coordinates)))
    return log_law(coordinates), slopes, law.named(coordinates), jax.jacfwd(law.named)(coordinates)


@functools.partial(jax.jit, static_argnums=0)
def _lagged(law, grid, history):
    """The axis, and (shapes, rows) lagged rates of all shapes."""
    axis = law.axis(history)
    if not law.has_excess:
        return axis, jnp.zeros((len(grid), len(axis)))
    return axis, jax.lax.map(lambda row: law.lagged_rate(dict(zip(law.shapes, row, strict=True)), history), grid)


def robust_rows(residuals, huber: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Residuals whose squares are twice Huber's loss, and their slopes."""
    if huber is None:
        return residuals, np.ones_like(residuals)
    size = np.maximum(np.abs(residuals), huber)
    value = np.sqrt(huber * (2 * size - huber))
    near = size == huber
    return np.where(near, residuals, np.sign(residuals) * value), np.where(near, 1.0, huber / value)


def _starts(law: ScheduleLaw, options, history: History, loss, root) -> list[np.ndarray]:
    """The best coordinates of a grid: exponents and shapes given, the other parameters by linear least squares."""
    grid, peak = law.shape_grid(), float(np.max(history.learning_rate))
    axis, lagged = (np.asarray(values) for values in _lagged(law, grid, history))
    unit = np.exp(np.mean(np.log(axis)))
    least = LEAST_START * loss.min() * np.array([10.0, 1.0, loss.min() ** -law.noise_power])
    found = []
    for shape, rate in zip(grid, lagged / peak, strict=True):
        for exponent in EXPONENTS:
            columns = np.stack([np.ones_like(loss), (axis / unit) ** -exponent, rate * loss**law.noise_power], axis=1)
            columns = columns[:, : 2 + law.has_excess]
            size = np.linalg.lstsq(columns * root[:, None], root * loss)[0]
            size = np.maximum(size, least[: len(size)])
            params = {"floor": size[0], "coefficient": size[1] * unit**exponent, "exponent": exponent}
            value = columns[:, :2] @ size[:2]
            if law.has_excess:
                value = value + size[2] * rate * value**law.noise_power
                params |= {"excess": size[2] / peak} | dict(zip(law.shapes, shape, strict=True))
            left = root * robust_rows(np.log(loss) - np.log(value), options.huber)[0]
            found.append((float(left @ left), coordinates_of(law, params)))
    found.sort(key=lambda pair: pair[0])
    return [point for _, point in found[: options.starts]]


def coordinates_of(law: ScheduleLaw, params) -> np.ndarray:
    """As `ScheduleLaw.coordinates`, of plain numbers."""
    return np.array([np.log(v / (1 - v) if n in law.fractions else v) for n in law.names for v in (params[n],)])


def _covariance(jacobian: np.ndarray, rss: float, free: np.ndarray) -> np.ndarray:
    """``s² (J'J)^-1``; NaN for what is held by a bound, or what J does not determine. As in `tsl_jax.least_squares`."""
    rows, size = jacobian.shape
    jacobian = np.where(free, jacobian, 0.0)
    norms = np.linalg.norm(jacobian, axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    _, sizes, axes = np.linalg.svd(jacobian / norms, full_matrices=False)
    eps = np.finfo(float).eps
    seen = sizes > rows * eps * sizes[0]
    known = np.all(np.abs(axes[~seen]) <= np.sqrt(eps), axis=0)
    scaled = axes[seen] / sizes[seen, None] / norms
    covariance = rss / max(rows - size, 1) * scaled.T @ scaled
    return np.where(known[:, None] & known & (rows > size), covariance, np.nan)
