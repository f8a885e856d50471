"""`tsl_jax.linalg.small` in NumPy, for matrices that are known: nothing is compiled."""

import numpy as np
from jaxtyping import Float


def eliminate(
    columns: Float[np.ndarray, "*batch n p"], right: Float[np.ndarray, "*batch n k"]
) -> tuple[Float[np.ndarray, "*batch p p"], Float[np.ndarray, "*batch p k"], Float[np.ndarray, "*batch n k"]]:
    """As `tsl_jax.linalg.small.eliminate`, for n of at least p; columns of zeros come last."""
    unit, upper = np.linalg.qr(columns)
    diagonal = np.diagonal(upper, axis1=-2, axis2=-1)
    # A column of zeros has a direction here that it does not have there.
    sign = np.where(diagonal < 0, -1.0, np.where(diagonal > 0, 1.0, 0.0))
    unit, upper = unit * sign[..., None, :], upper * sign[..., :, None]
    along = np.swapaxes(unit, -1, -2) @ right
    return upper, along, right - unit @ along


def back_substitute(
    upper: Float[np.ndarray, "*batch p p"], right: Float[np.ndarray, "*batch p k"]
) -> Float[np.ndarray, "*batch p k"]:
    """As `tsl_jax.linalg.small.back_substitute`: 0 where the diagonal is no more than the rounding of its column."""
    diagonal = np.diagonal(upper, axis1=-2, axis2=-1)
    least = upper.shape[-1] * np.finfo(upper.dtype).eps * np.max(np.abs(upper), axis=-2)
    known = np.abs(diagonal) > least
    return _substitute(upper, np.where(known, 1 / np.where(known, diagonal, 1), 0), right)


def upper_inverse(upper: Float[np.ndarray, "*batch p p"]) -> Float[np.ndarray, "*batch p p"]:
    """As `tsl_jax.linalg.small.upper_inverse`."""
    inverse_diagonal = 1 / np.diagonal(upper, axis1=-2, axis2=-1)
    return _substitute(upper, inverse_diagonal, np.broadcast_to(np.eye(upper.shape[-1]), upper.shape))


def _substitute(upper, inverse_diagonal, right):
    found = np.zeros(right.shape)
    for i in reversed(range(upper.shape[-1])):
        later = upper[..., i, None, i + 1 :] @ found[..., i + 1 :, :]
        found[..., i, :] = (right[..., i, :] - later[..., 0, :]) * inverse_diagonal[..., i, None]
    return found


def triangle(table: Float[np.ndarray, "*batch n p"]) -> Float[np.ndarray, "*batch p p"]:
    """As `tsl_jax.linalg.small.triangle`, for n of at least p."""
    return eliminate(table, table[..., :0])[0]


def solve(matrix: Float[np.ndarray, "n p"], right: Float[np.ndarray, " n"]) -> Float[np.ndarray, " p"]:
    """As `tsl_jax.linalg.small.solve`."""
    upper, along, _ = eliminate(matrix, right[:, None])
    return back_substitute(upper, along)[:, 0]
