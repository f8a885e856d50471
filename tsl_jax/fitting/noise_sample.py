"""Residuals of a sample of fitted curves, which the noise is estimated from; what is known of them is NumPy's."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..curves import Family
from .block_fit import row_multiple
from .codes import Status
from .few_sizes import in_few_sizes
from .measures import coefficients_columns, orthonormal
from .noise import POINTS_A_PARAMETER
from .options import FitOptions
from .preparation import prepare
from .solution import solve


class Sample(NamedTuple):
    """Fitted curves, in NumPy and float64."""

    residuals: np.ndarray  # (curves, checkpoints), mean square 1 over measured points, 0 elsewhere
    basis: np.ndarray  # (curves, checkpoints, size) orthonormal columns
    measured: np.ndarray  # (curves, checkpoints)


class FittedRows(NamedTuple):
    """A curve a row, as they were fitted; see `fitted_rows`."""

    loss: Any  # (curves, checkpoints), 0 where nothing was measured
    weight: Any  # the same
    columns: Any  # (curves, checkpoints, size) of the Jacobian, by the two plateaus first
    coefficients: Any  # (curves, size)
    active: Any  # (curves, size), on a bound
    good: Any  # (curves,), fitted, with points enough


def sample_of(
    fitted: Callable[..., FittedRows], family: Family, options: FitOptions, time, losses, weights=None
) -> Sample:
    """Residuals of the curves whose fit converged, and the columns that the fits took out of them.

    Args:
        fitted: `fitted_rows`, or a program of it.
        family, options, time, losses, weights: as in `tsl_jax.noise_model`, in NumPy.
    """
    rows = [losses] if weights is None else [losses, weights]
    u = family.coordinate(time)
    window = family.window(u)
    x = np.asarray((u - window[0]) / window[1], jnp.promote_types(losses.dtype, jnp.float32))
    multiple = row_multiple(family, options, x.dtype, len(x))
    found = in_few_sizes(functools.partial(fitted, family, options, x), rows, multiple=multiple)
    with np.errstate(all="ignore"):  # as in JAX: NaN speaks for itself
        return _scaled(FittedRows(*(np.asarray(part).T for part in found)), float(jnp.finfo(losses.dtype).eps))


def _scaled(fitted: FittedRows, eps: float) -> Sample:
    """The sample of fitted curves, which are last here; in NumPy, as XLA takes longer to compile it."""
    loss, weight, columns, coefficients, active, good = fitted
    root, measured = np.sqrt(weight), weight > 0
    curve = coefficients[0] * columns[0] + coefficients[1] * columns[1]
    r = root * np.where(measured, loss - curve, 0)
    basis = np.stack(orthonormal([root * column for column in columns], active)[0])
    rounding = np.sum(weight * np.square(2 * eps * loss), axis=0)
    square = np.sum(np.square(r, dtype=np.float64), axis=0)
    good = good & (square > rounding)
    scaled = r[:, good] / np.sqrt(square[good] / measured[:, good].sum(axis=0))
    return Sample(scaled.T.astype(np.float64), basis[:, :, good].T.astype(np.float64), measured[:, good].T)


@functools.partial(jax.jit, static_argnums=(0, 1))
def fitted_rows(family: Family, options: FitOptions, x, losses, weights=None) -> FittedRows:
    """Fit rows (curves, checkpoints); all that takes JAX of what a sample is made of."""
    block, _, num_points, status = prepare(family, options, x, losses, weights)
    solution = solve(family, options, block)
    enough = num_points >= POINTS_A_PARAMETER * len(family.names)
    columns = jnp.stack(coefficients_columns(family, block, solution))
    return FittedRows(
        loss=block.loss.T,
        weight=block.weight.T,
        columns=columns.T,
        coefficients=solution.coefficients.T,
        active=solution.active.T,
        good=(status == Status.CONVERGED) & solution.converged & enough,
    )
