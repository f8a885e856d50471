"""The macroscopic law ``coefficient·a^-exponent + floor`` of mean losses, many replicates at once."""

import numpy as np

#: Exponents tried at first, and how often the best of them is surrounded by closer ones.
_EXPONENTS, _ROUNDS = np.geomspace(1e-3, 20, 97), 8


def power_laws(axis: np.ndarray, losses: np.ndarray) -> dict[str, np.ndarray]:
    """Least-squares fits of ``coefficient·a^-exponent + floor`` with ``floor ≥ 0``, in float64.

    The same law as `tsl_jax.PowerLaw`, for a few hundred curves: coefficient and floor are eliminated in closed form
    and the exponent is searched, which needs no compilation.

    Args:
        axis: (checkpoints,) positive axis values.
        losses: (curves, checkpoints) nat.

    Returns:
        ``coefficient``, ``exponent`` and ``floor``, (curves,) each; NaN for curves that are not finite or do not fall.
    """
    x = np.log(np.asarray(axis, np.float64) / axis[0])
    losses = np.asarray(losses, np.float64)
    exponents = np.broadcast_to(_EXPONENTS, (len(losses), len(_EXPONENTS)))
    for _ in range(_ROUNDS):
        rss = _linear(x, losses, exponents)[2]
        best = np.clip(np.argmin(np.where(np.isfinite(rss), rss, np.inf), 1), 1, exponents.shape[1] - 2)
        low, high = (np.take_along_axis(exponents, (best + side)[:, None], 1) for side in (-1, 1))
        exponents = low * (high / low) ** np.linspace(0, 1, 17)
    exponent = exponents[:, 8:9]
    coefficient, floor, rss = (values[:, 0] for values in _linear(x, losses, exponent))
    exponent = exponent[:, 0]
    # At the ends of the search there is no law: the loss is a straight line in ln(a) or has ended falling at once.
    inside = (exponent > 1.1 * _EXPONENTS[0]) & (exponent < 0.9 * _EXPONENTS[-1])
    known = np.isfinite(rss) & (coefficient > 0) & inside
    values = {"coefficient": coefficient * axis[0] ** exponent, "exponent": exponent, "floor": floor}
    return {name: np.where(known, value, np.nan) for name, value in values.items()}


def _linear(x, losses, exponents):
    """Best coefficient (at the first checkpoint) and floor, and the rss, for each curve and exponent."""
    shape = np.exp(-exponents[..., None] * x)
    centred = shape - shape.mean(-1, keepdims=True)
    mean = losses.mean(-1)[:, None]
    coefficient = np.sum(centred * losses[:, None], -1) / np.sum(centred**2, -1)
    floor = mean - coefficient * shape.mean(-1)
    through_zero = np.sum(shape * losses[:, None], -1) / np.sum(shape**2, -1)
    coefficient, floor = np.where(floor < 0, through_zero, coefficient), np.maximum(floor, 0)
    rss = np.sum(np.square(losses[:, None] - coefficient[..., None] * shape - floor[..., None]), -1)
    return coefficient, floor, rss
