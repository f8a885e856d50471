"""Is the pulse shared? The modes of all aligned pulses."""

import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from ..linalg.in_turn import singular_values
from ..linalg.known import each_row, module_of
from ..pytrees import pytree
from .decomposition import moments_of
from .grid import SpectrumGrid
from .pulses import logistic_rise, product
from .sharing import equal_groups
from .statistic import Moments, Spectrum

#: Share of the largest singular value of the grid's unit pulses below which float32 sees nothing.
_NEGLIGIBLE = 1e-7


@pytree
class PulseModes:
    """Singular values and leading modes of a matrix whose rows are aligned pulses.

    Attributes:
        values: singular values, largest first, of as many modes as float32 can tell from nothing.
        energy: fraction of each in the sum of squares; NaN without events.
        modes: leading right singular vectors at ``lags``, of unit norm, positive where they are largest; 0 where all
            singular values are in front of them.
        lags: centres of the lag bins, u.
    """

    values: Float[Array, " ranks"]
    energy: Float[Array, " ranks"]
    modes: Float[Array, "modes lags"]
    lags: Float[Array, " lags"]


@with_own_switches
def pulse_modes(
    spectrum: Spectrum | Moments,
    *,
    unit_area: bool = False,
    groups: int | None = None,
    resolution: int = 64,
    modes: int = 4,
) -> PulseModes:
    """Singular value decomposition of the matrix M of aligned pulses (events inside the window, lags).

    Exact from the histogram: ``MᵀM = Σ_s (Σ drop²)_s q_s q_sᵀ``, with q_s the unit pulse of a sharpness.
    One mode with nearly all the energy means that events share one pulse up to its height.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.
        unit_area: pulses of area 1 instead of their drops: only differences of sharpness remain.
        groups: use the mean pulses of so many groups by learning time (`pulse_groups`) as rows instead.
        resolution: lag bins in a window, at most the grid's time bins. Energies depend on it, since a pulse steeper
            than a lag bin has the energy of one lag bin; so keep it near the spacing of the checkpoints.
        modes: number of leading modes to return.

    Returns:
        `PulseModes`.

    Raises:
        ValueError: ``groups``, ``resolution`` or ``modes`` is outside its range.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, pulse_modes
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
        >>> spectrum = Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> float(pulse_modes(spectrum).energy[0]) > 0.99  # all with one pulse
        True
    """
    moments = moments_of(spectrum)
    if resolution < 1:
        raise ValueError(f"resolution: got {resolution}, expected at least 1 lag bin in a window")
    if not 1 <= modes <= moments.grid.sharpness_bins:
        raise ValueError(f"modes: got {modes}, expected 1 to {moments.grid.sharpness_bins}")
    if groups is not None and groups < 1:
        raise ValueError(f"groups: got {groups}, expected at least 1")
    return _pulse_modes(moments, unit_area, groups, min(resolution, moments.grid.time_bins), modes)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _pulse_modes(moments: Moments, unit_area: bool, groups: int | None, resolution: int, modes: int) -> PulseModes:
    return _modes_of(_pulse_rows(moments, unit_area, groups, resolution), moments.grid, resolution, modes)


def all_pulse_modes(moments: Moments, groups: int, *, resolution: int = 64, modes: int = 4) -> dict[str, PulseModes]:
    """`pulse_modes` of all pulses, of those of unit area, and of the means of groups, in one program."""
    xp = module_of(moments.count)
    resolution = min(resolution, moments.grid.time_bins)
    kinds = {"all pulses": (False, None), "unit area": (True, None), "group means": (False, groups)}
    rows = [_pulse_rows(moments, unit_area, number, resolution) for unit_area, number in kinds.values()]
    ranks = [min(one.shape) for one in rows]
    tallest = max(len(one) for one in rows)
    padded = xp.stack([xp.pad(one, ((0, tallest - len(one)), (0, 0))) for one in rows])
    found = each_row(lambda one: _modes_of(one, moments.grid, resolution, modes), padded)
    return {
        name: PulseModes(found.values[i, :rank], found.energy[i, :rank], found.modes[i], found.lags[i])
        for i, (name, rank) in enumerate(zip(kinds, ranks, strict=True))
    }


@functools.lru_cache(maxsize=16)
def _unit_pulses(grid: SpectrumGrid, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lags (u); the sharpnesses' unit pulses there as ``coefficients @ basis`` with orthonormal rows; their areas.

    Of the many lags some 17 columns are left, whatever the grid: a decomposition of those takes a hundredth of the
    time. What lies below the digits of float32 is left out.
    """
    step = grid.unit / resolution
    lags = step * np.arange(-resolution, resolution + 1)
    s = grid.sharpnesses[:, None]
    table = logistic_rise(s * (lags - step / 2), s * (lags + step / 2)) / step
    left, values, basis = np.linalg.svd(table, full_matrices=False)
    kept = values > _NEGLIGIBLE * values[0]
    return lags, (left * values)[:, kept], basis[kept], table.sum(1) * step


def _pulse_rows(moments: Moments, unit_area: bool, groups: int | None, resolution: int) -> Float[Array, "rows ranks"]:
    """The pulses in the basis of `_unit_pulses`."""
    xp = module_of(moments.count)
    grid = moments.grid
    _, coefficients, _, areas = _unit_pulses(grid, resolution)
    coefficients = xp.asarray(coefficients, xp.float32)
    if groups is None:
        weight = moments.count if unit_area else moments.square
        return xp.sqrt(xp.sum(weight[:, grid.inside], (0, 1)))[:, None] * coefficients
    _, fraction, per_event = equal_groups(moments, groups)
    drops = product(fraction, (moments.drop[0] - moments.drop[1])[grid.inside]) * per_event[:, None]
    if unit_area:
        drops = drops / product(drops, xp.asarray(areas, xp.float32))[:, None]
    return xp.nan_to_num(product(drops, coefficients))


def _modes_of(rows: Float[Array, "rows ranks"], grid: SpectrumGrid, resolution: int, modes: int) -> PulseModes:
    xp = module_of(rows)
    lags, _, basis, _ = _unit_pulses(grid, resolution)
    # Sums over lags as integrals: singular values do not depend on the width of the lag bins.
    _, values, right = _singular_values(rows * np.sqrt(grid.unit / resolution))
    total = xp.sum(xp.square(values))
    right = xp.pad(right, ((0, max(0, modes - len(right))), (0, 0)))[:modes]
    right = product(right, xp.asarray(basis, xp.float32))
    height = xp.max(xp.abs(right), 1, keepdims=True)
    largest = xp.sum(xp.where(xp.abs(right) == height, right, 0), 1, keepdims=True)
    return PulseModes(
        values=values,
        energy=xp.where(total > 0, xp.square(values) / xp.maximum(total, 1e-30), xp.nan),
        modes=right * xp.where(largest < 0, -1, 1),
        lags=xp.asarray(lags, xp.float32),
    )


def _singular_values(rows) -> tuple[Any, Any, Any]:
    """Thin decomposition; NaN of rows with NaN."""
    if not isinstance(rows, np.ndarray):
        return singular_values(rows)
    finite = np.isfinite(rows)
    left, values, right = np.linalg.svd(np.where(finite, rows, 0), full_matrices=False)
    unknown = 0.0 if np.all(finite) else np.nan
    return left + unknown, values + unknown, right + unknown
