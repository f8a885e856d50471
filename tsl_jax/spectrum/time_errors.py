"""How much the errors of learning times broaden the spectrum p."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..fitting import Category, Fit, has_parameters
from ..jax_switches import with_own_switches
from ..linalg.known import module_of
from ..pytrees import pytree, static
from .blocks import folded, resample_of
from .decomposition import Weighting, moments_of
from .grid import SpectrumGrid
from .pulses import level_reached
from .statistic import Moments, Spectrum

#: Errors are counted in bins of half an octave, from this power of two of the window (and all below it) to a window.
_FINEST = -16
_BINS = -2 * _FINEST
#: The error, in windows, of an event that may be anywhere in the window: none counts for more.
_MOST = 12**-0.5


@pytree
class TimeErrors:
    """Errors of the learning times within the window, by resample group, with events weighted alike and by drop.

    Attributes:
        weight: (resamples, 2) events, and sums of the sizes of their drops (nat).
        square: (resamples, 2) sums of squared errors, u², weighted so.
        sizes: (resamples, 2, sizes) weights by the size of the error, in half-octaves up to the window.
    """

    weight: Float[Array, "*resamples 2"]
    square: Float[Array, "*resamples 2"]
    sizes: Float[Array, "*resamples 2 sizes"]

    @classmethod
    def empty(cls, grid: SpectrumGrid) -> "TimeErrors":
        """Of no tokens."""
        return cls(*np.zeros((2, grid.resamples, 2)), np.zeros((grid.resamples, 2, _BINS)))  # type: ignore[arg-type]

    def __add__(self, other: "TimeErrors") -> "TimeErrors":
        return TimeErrors(self.weight + other.weight, self.square + other.square, self.sizes + other.sizes)

    @classmethod
    def from_fits(cls, fit: Fit, grid: SpectrumGrid, sequence: ArrayLike | None = None) -> "TimeErrors":
        """Of fits in memory.

        Args:
            fit: of `tsl_jax.Sigmoid`, any leading shape.
            grid: bins of the spectrum.
            sequence: as in `Spectrum.from_fits`.

        Example:
            >>> import jax, jax.numpy as jnp, tsl_jax as tsl
            >>> from tsl_jax.spectrum import Spectrum, TimeErrors, broadening
            >>> step = jnp.geomspace(1.0, 1000.0, 40)
            >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
            >>> fit = tsl.fit(tsl.Sigmoid(), step, losses + 0.3 * jax.random.normal(jax.random.key(0), losses.shape))
            >>> spectrum = Spectrum.from_fits(fit, step)
            >>> found = broadening(spectrum, TimeErrors.from_fits(fit, spectrum.grid), bins=8)
            >>> 1 < float(found.ratio) < 1.1
            True
        """
        number = np.arange(np.size(fit.status)) if sequence is None else np.asarray(sequence).ravel()
        resample = np.asarray(resample_of(jnp.asarray(folded(number)), grid.resamples))
        return cls.empty(grid).added(grid, fit.params, fit.stderr, fit.status, fit.category, resample)

    def added(
        self,
        grid: SpectrumGrid,
        params: Mapping[str, ArrayLike],
        stderr: Mapping[str, ArrayLike],
        status: ArrayLike,
        category: ArrayLike,
        resample: ArrayLike,
    ) -> "TimeErrors":
        """The sums with further tokens, of all arrays one value a token; only LEARNED ones count.

        An error that is not known, or larger than that of an event which may be anywhere in the window, is taken for
        the latter: ``window / √12``.
        """
        time, drop = (np.asarray(params[name], np.float64).ravel() for name in ("learning_time", "loss_drop"))
        error = np.asarray(stderr["learning_time"], np.float64).ravel()
        inside = np.asarray(has_parameters(np.asarray(status).ravel()))
        inside &= (np.asarray(category).ravel() == Category.LEARNED) & np.isfinite(drop) & np.isfinite(time)
        time, drop, error = time[inside], np.abs(drop[inside]), error[inside]
        error = error / time if grid.scale == "log" else error
        error = np.where(error >= 0, np.minimum(error / grid.unit, _MOST), _MOST)
        place = np.floor(2 * np.log2(np.maximum(error, 2.0**_FINEST))).astype(int) - 2 * _FINEST
        rows = np.asarray(resample).ravel()[inside].astype(np.int64)
        weights = np.stack([np.ones(len(drop)), drop])

        def summed(index, values, size):
            return np.stack([np.bincount(index, one, size) for one in values], 1)

        sizes = summed(rows * _BINS + place, weights, grid.resamples * _BINS).reshape(grid.resamples, _BINS, 2)
        return TimeErrors(
            self.weight + summed(rows, weights, grid.resamples),
            self.square + summed(rows, weights * np.square(grid.unit * error), grid.resamples),
            self.sizes + np.swapaxes(sizes, 1, 2),
        )


@pytree
class Broadening:
    """What errors of learning times make of p.

    Attributes:
        error: root mean square of the errors of u_learn, u.
        median: of the errors, u.
        wider: fraction of p whose errors are wider than a bin.
        width: standard deviation of p, u.
        ratio: how many times as wide p is as without errors, ``width / √(width² - error²)``; infinite where errors
            alone would explain the width.
        bin: width of a bin, u (static).
    """

    error: Float[Array, ""]
    median: Float[Array, ""]
    wider: Float[Array, ""]
    width: Float[Array, ""]
    ratio: Float[Array, ""]
    bin: float = static()


@with_own_switches
def broadening(
    spectrum: Spectrum | Moments, errors: TimeErrors, *, bins: int, weighting: Weighting = "count"
) -> Broadening:
    """How much wider p is than the distribution of the true learning times.

    Errors that do not depend on the learning time add to its variance: ``var p = var true + mean s²``.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.
        errors: of the same tokens; of a replicate the sums (2,) and (2, sizes).
        bins: on which p is shown, over the window.
        weighting: of p, see `decompose`.

    Returns:
        `Broadening`, NaN without events inside the window.

    Source: deconvolution by moments, as in Carroll, Ruppert, Stefanski and Crainiceanu, Measurement Error, 2006.
    """
    moments = moments_of(spectrum)
    xp = module_of(moments.count)
    row, grid = ("count", "drop").index(weighting), moments.grid
    if xp.ndim(errors.weight) > 1:
        errors = jax.tree.map(lambda sums: xp.sum(xp.asarray(sums), 0), errors)
    weight, square, sizes = errors.weight[row], errors.square[row], errors.sizes[row]
    masses = xp.sum(moments.drop if weighting == "drop" else moments.count, (0, 2))[grid.inside]
    place = (np.arange(grid.time_bins) + 0.5) / grid.time_bins  # in windows: float32 keeps its digits
    total = xp.where(weight > 0, weight, xp.nan)
    mean = xp.sum(masses * place) / xp.maximum(xp.sum(masses), 1e-30)
    spread = xp.sum(masses * xp.square(place - mean)) / xp.maximum(xp.sum(masses), 1e-30)
    variance = grid.unit**2 * xp.maximum(spread - 1 / (12 * grid.time_bins**2), 0)
    noise = square / total
    left = variance - noise
    at = 2 * (np.log2(1 / bins) - _FINEST)
    ratio = xp.where(left > 0, xp.sqrt(variance / xp.where(left > 0, left, 1)), xp.inf)
    half = 2.0 ** (level_reached(sizes[None], 0.5 * xp.sum(sizes)[None])[0] / 2 + _FINEST)
    return Broadening(
        error=xp.sqrt(noise),
        median=xp.where(weight > 0, grid.unit * half, xp.nan),
        wider=xp.sum(sizes * xp.clip(np.arange(1, _BINS + 1) - at, 0, 1)) / total,
        width=xp.where(weight > 0, xp.sqrt(variance), xp.nan),
        ratio=xp.where(weight > 0, ratio, xp.nan),
        bin=grid.unit / bins,
    )
