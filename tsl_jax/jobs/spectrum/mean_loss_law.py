"""The macroscopic law ``coefficient·a^-exponent + floor`` of mean losses, many replicates at once."""

import numpy as np

from ...spectrum import Kind, Spectrum, SpectrumGrid
from ...spectrum.events import DROP_UNIT
from ...spectrum.pulses import outside_table, pulse_table

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


def implied_curves(spectrum: Spectrum, weights: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Mean losses that a spectrum implies where its resample groups count so often, in float64.

    The same as `tsl_jax.spectrum.implied_loss` of each replicate, which needs no compilation: but for the number of
    tokens it is linear in the spectrum, so that each resample group has its curve once.

    Args:
        spectrum: of all tokens.
        weights: (replicates, resamples).
        axis: (checkpoints,) axis values inside the window.

    Returns:
        (replicates, checkpoints) nat; NaN for replicates without tokens.
    """
    grid, levels = spectrum.grid, DROP_UNIT * spectrum.level.integers()
    falls = np.stack([_falls(grid, DROP_UNIT * (part[0] - part[1])) for part in spectrum.drop.integers().astype(float)])
    place = (grid.coordinate(axis) - grid.origin) / grid.width
    after = 1 - np.clip(place[:, None] - np.arange(grid.time_bins), 0, 1)
    sums = (levels[:, 0] - levels[:, 1])[:, None] + falls @ after.T
    tokens = spectrum.kinds.integers()[:, : Kind.CONSTANT + 1].sum(1)
    with np.errstate(invalid="ignore"):
        return (weights @ sums) / (weights @ tokens)[:, None]


def _falls(grid: SpectrumGrid, net: np.ndarray) -> np.ndarray:
    """Fall within each bin of the window, nat, of net drops (times, sharpnesses): `implied_drops` of any number."""
    table, number = pulse_table(grid), grid.outside_bins
    size = 1 << (grid.time_bins + table.shape[1] - 2).bit_length()
    product = np.fft.rfft(net[grid.inside].T, size) * np.fft.rfft(table, size)
    falls = np.fft.irfft(np.sum(product, 0), size)[grid.time_bins : 2 * grid.time_bins]
    sides = np.stack([net[:number][::-1], net[-number:]])
    return falls + np.tensordot(sides, outside_table(grid), 3)


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
