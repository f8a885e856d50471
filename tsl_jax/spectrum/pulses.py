"""Pulses on the bins of a spectrum, averaged over each bin, so that area is conserved however steep they are."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from ..linalg.in_turn import signal_of, sum_of_convolutions, transform
from ..linalg.known import module_of
from .grid import SpectrumGrid


def product(left, right) -> Any:
    """Matrix product in full float32, also on devices that would round their factors to fewer digits."""
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left @ right
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def logistic(z: np.ndarray) -> np.ndarray:
    """``σ(z) = 1/(1 + e^-z)`` in float64, to full relative precision also where it is near 0."""
    return np.exp(-np.logaddexp(0, -z))


def logistic_rise(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """``σ(end) - σ(start)`` for start ≤ end, without taking a difference."""
    return logistic(end) * logistic(-start) * -np.expm1(start - end)


def fraction_before(place: Float[Array, " points"], bins: int) -> Float[Array, "points bins"]:
    """Share of each bin that lies before a place, which is given in bins from the first edge."""
    xp = module_of(place)
    return xp.clip(xp.asarray(place, xp.float32)[:, None] - xp.arange(bins, dtype=xp.int32), 0, 1)


def level_reached(masses: Float[Array | np.ndarray, "*#rows bins"], level: Float[Array | np.ndarray, "*rows"]) -> Any:
    """Where the running sum of masses reaches a level, in bins from the first edge; past bins without any there.

    Of NumPy's arrays the place is one, in their precision.
    """
    of = module_of(masses)
    before = of.cumsum(masses, -1) - masses
    into = (level[..., None] - before) / of.maximum(masses, 1e-30)
    return of.sum(of.where(masses > 0, of.clip(into, 0, 1), level[..., None] >= before), -1)


@functools.lru_cache(maxsize=16)
def pulse_table(grid: SpectrumGrid, beyond: int = 0) -> np.ndarray:
    """Unit pulses of events at a bin's centre: fraction of the drop that falls into the bin at each lag.

    ``σ(s·(lag + h/2)) - σ(s·(lag - h/2))``, h the bin width.

    Args:
        grid: the bins.
        beyond: further lags on both sides, in bins.

    Returns:
        (sharpness_bins, 2·(time_bins + beyond) + 1) float64, for the lags `SpectrumGrid.lags` and beyond; a row sums
        to 1 less the part outside all lags.
    """
    reach = grid.time_bins + beyond
    lags = grid.width * np.arange(-reach, reach + 1)
    s, half = grid.sharpnesses[:, None], grid.width / 2
    return logistic_rise(s * (lags - half), s * (lags + half))


@functools.lru_cache(maxsize=16)
def outside_table(grid: SpectrumGrid) -> np.ndarray:
    """What is seen of events outside the window: fraction of the visible drop that falls into each of its bins.

    Returns:
        (2, outside_bins, sharpness_bins, time_bins) float64; before the window, then after it, nearest bins first.
        Sums over the last axis are 1.
    """
    late = seen_of_late(grid, grid.sharpnesses, grid.distances[:, None])
    return np.stack([late[..., ::-1], late])


def seen_of_late(grid: SpectrumGrid, sharpness: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Shares (..., time_bins) of what the window shows of an event this far (u) after its end."""
    z = np.asarray(sharpness)[..., None] * (grid.edges - grid.edges[-1] - np.asarray(distance)[..., None])
    start, end, last = z[..., :-1], z[..., 1:], z[..., -1:]
    # `logistic_rise` with the exponential at the window's end taken out, so that steep and far events do not vanish.
    rise = np.exp(end - last) * logistic(-end) * logistic(-start) * -np.expm1(start - end)
    return rise / np.sum(rise, axis=-1, keepdims=True)


@functools.lru_cache(maxsize=16)
def _transformed(grid: SpectrumGrid, beyond: int) -> np.ndarray:
    table = pulse_table(grid, beyond)
    size = _transform_size(grid.time_bins + table.shape[1])
    return np.fft.rfft(table, size, axis=1).astype(np.complex64)


def _transform_size(least: int) -> int:
    return 1 << (least - 1).bit_length()


def spread(grid: SpectrumGrid, drops: Float[Array | np.ndarray, "times sharpnesses"], beyond: int = 0) -> Any:
    """Drops spread over the window by their own pulses: what falls into each bin, ``Σ_s drops[:, s] * pulse_s``.

    Args:
        grid: the bins.
        drops: (time_bins, sharpness_bins) of events inside the window; of any unit.
        beyond: further bins after the window.

    Returns:
        (time_bins + beyond,) in the same unit; of NumPy's arrays likewise.
    """
    table = _transformed(grid, beyond)
    start = grid.time_bins + beyond
    if isinstance(drops, np.ndarray):
        size = 2 * (table.shape[1] - 1)
        return np.fft.irfft(np.sum(np.fft.rfft(drops.T, size) * table, axis=0), size)[start : start + start]
    return sum_of_convolutions(drops.T, table)[start : start + grid.time_bins + beyond]


@with_own_switches
def convolve(spectrum: Float[Array, " times"], pulse: Float[Array, " lags"]) -> Float[Array, " times"]:
    """``Σ_j spectrum[j] · pulse[i - j]`` by FFT, padded so that nothing wraps around.

    Args:
        spectrum: (n,) masses.
        pulse: (2·m + 1,) values at the lags -m ... m with m ≥ n - 1.

    Returns:
        (n,)

    Raises:
        ValueError: the pulse's lags do not span the spectrum.

    Example:
        >>> import jax.numpy as jnp
        >>> from tsl_jax.spectrum import convolve
        >>> convolve(jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 0.0, 3.0, 2.0, 1.0])).round().tolist()
        [3.0, 2.0, 1.0]
    """
    number, reach = len(spectrum), len(pulse) // 2
    if len(pulse) % 2 == 0 or reach < number - 1:
        raise ValueError(
            f"pulse: got {len(pulse)} lags for a spectrum of {number} bins, expected an odd number of at least "
            f"{2 * number - 1}"
        )
    size = _transform_size(number + len(pulse) - 1)
    known: Any = spectrum
    if isinstance(known, np.ndarray) and isinstance(pulse, np.ndarray):
        known = np.fft.irfft(np.fft.rfft(known, size) * np.fft.rfft(pulse, size), size)
        return known[reach : reach + number]
    return signal_of(transform(spectrum, size) * transform(pulse, size))[reach : reach + number]
