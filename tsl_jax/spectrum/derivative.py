"""The derivative of a curve that is known at irregular checkpoints."""

import functools

import numpy as np

#: Checkpoints that a local fit needs at least: those of a parabola and one more on each side.
_NEIGHBOURS = 5


def derivative_matrix(u: np.ndarray, at: np.ndarray, bandwidth: float) -> np.ndarray:
    """Smoothed derivatives as a linear map of the values: local quadratic regression with a tricube kernel.

    At each point a parabola is fitted to the values with weights ``(1 - |distance/bandwidth|³)³``; its slope there is
    the derivative. Where fewer than 5 checkpoints lie within the bandwidth it reaches a tenth past the 5th nearest.

    Args:
        u: (checkpoints,) increasing coordinates.
        at: (points,) where the derivative is wanted, between the first and the last checkpoint.
        bandwidth: half the kernel's width, in u.

    Returns:
        (points, checkpoints) float64, read only: ``matrix @ values`` are the derivatives.

    Raises:
        ValueError: fewer than 5 checkpoints, they do not increase, or the bandwidth is not positive.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.spectrum import derivative_matrix
        >>> u = np.array([0.0, 1.0, 1.5, 4.0, 5.0, 7.0])
        >>> (derivative_matrix(u, np.array([1.0, 3.0]), 2.0) @ u**2).round(6).tolist()
        [2.0, 6.0]

    Source: Cleveland 1979 (kernel and nearest neighbours); Fan and Gijbels 1996 (local polynomials for derivatives).
    """
    u, at = np.asarray(u, np.float64), np.asarray(at, np.float64)
    if u.ndim != 1 or len(u) < _NEIGHBOURS or not np.all(np.diff(u) > 0):
        raise ValueError(f"u: got {len(u)} checkpoints, expected at least {_NEIGHBOURS} that increase")
    if not bandwidth > 0:
        raise ValueError(f"bandwidth: got {bandwidth!r}, expected a positive number")
    return _matrix(tuple(u.tolist()), tuple(at.tolist()), float(bandwidth))


@functools.lru_cache(maxsize=8)
def _matrix(checkpoints: tuple[float, ...], points: tuple[float, ...], bandwidth: float) -> np.ndarray:
    u, at = np.asarray(checkpoints), np.asarray(points)
    distance = u - at[:, None]
    fifth = np.sort(np.abs(distance), axis=1)[:, _NEIGHBOURS - 1]
    reach = np.maximum(bandwidth, 1.1 * fifth)[:, None]
    weight = np.clip(1 - np.abs(distance / reach) ** 3, 0, None) ** 3
    powers = (distance / reach)[..., None] ** np.arange(3)
    normal = np.einsum("pci,pc,pcj->pij", powers, weight, powers)
    slope = np.linalg.solve(normal, np.swapaxes(powers * weight[..., None], 1, 2))[:, 1]
    matrix = slope / reach
    matrix.flags.writeable = False  # replicates share it
    return matrix
