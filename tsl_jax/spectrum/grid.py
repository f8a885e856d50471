"""The bins of a spectrum: learning time by sharpness, over the window of the checkpoints."""

import dataclasses
from typing import Literal

import numpy as np

#: Slope of the flattest curve that the sigmoid family fits, in units of 1 / window.
LEAST_SHARPNESS = 0.5
#: A pulse of this sharpness, in units of 1 / bin width, lies within its bin in float32.
STEP_SHARPNESS = 40.0


@dataclasses.dataclass(frozen=True)
class SpectrumGrid:
    """Bins over learning time and sharpness, in units of the window: x = 0 at the first checkpoint, 1 at the last.

    Time: ``time_bins`` equal bins in the fitted coordinate between the first and the last checkpoint, and on each side
    ``outside_bins`` for events that were fitted there, by distance to the window: the last ends at one window and takes
    all beyond, each nearer one ends at 1/√2 of that, and the nearest starts at the window. Sharpness: equal ratios from
    the flattest curve of the family to a step within a time bin; the last bin takes all steeper ones. Hashable; static
    under `jax.jit`.

    Args:
        first: axis value of the first checkpoint used (positive on a log scale).
        last: axis value of the last checkpoint.
        scale: ``"log"`` (u = ln a) or ``"linear"`` (u = a), that of the fits.
        time_bins: bins over the window.
        sharpness_bins: bins over sharpness.
        outside_bins: bins on each side of the window.
        resamples: groups of whole sequences that the bootstrap draws from.

    Raises:
        TypeError, ValueError: an argument of another type or outside its range.
    """

    first: float
    last: float
    scale: Literal["linear", "log"] = "log"
    time_bins: int = 512
    sharpness_bins: int = 48
    outside_bins: int = 16
    resamples: int = 64

    def __post_init__(self) -> None:
        if self.scale not in ("linear", "log"):
            raise ValueError(f"SpectrumGrid.scale: got {self.scale!r}, expected 'log' (u = ln a) or 'linear' (u = a)")
        for name in ("first", "last"):
            object.__setattr__(self, name, float(getattr(self, name)))  # so that equal grids are equal, and hash alike
        if not (np.isfinite([self.first, self.last]).all() and self.first < self.last):
            raise ValueError(
                f"SpectrumGrid: got a window from {self.first!r} to {self.last!r}, expected finite first < last"
            )
        if self.scale == "log" and self.first <= 0:
            raise ValueError(
                f"SpectrumGrid.first: got {self.first!r}, expected a positive value on a log scale; leave out the "
                "checkpoint at 0"
            )
        for name, least, most in (
            ("time_bins", 4, 2**16),
            ("sharpness_bins", 2, 2**10),
            ("outside_bins", 1, 40),
            ("resamples", 2, 2**12),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"SpectrumGrid.{name}: got {value!r}, expected a whole number")
            if not least <= value <= most:
                raise ValueError(f"SpectrumGrid.{name}: got {value}, expected {least} to {most}")
        cells = self.resamples * int(np.prod(self.shape))
        if cells >= 2**31:
            raise ValueError(f"SpectrumGrid: got {cells} cells, expected fewer than 2^31; take fewer bins or resamples")

    @property
    def origin(self) -> float:
        """u at the first checkpoint."""
        return float(np.log(self.first)) if self.scale == "log" else self.first

    @property
    def unit(self) -> float:
        """Width of the window in u."""
        return float(np.log(self.last / self.first)) if self.scale == "log" else self.last - self.first

    @property
    def width(self) -> float:
        """Width of a time bin in u."""
        return self.unit / self.time_bins

    @property
    def edges(self) -> np.ndarray:
        """(time_bins + 1,) borders of the window's bins, u."""
        return self.origin + self.unit * np.arange(self.time_bins + 1) / self.time_bins

    @property
    def centres(self) -> np.ndarray:
        """(time_bins,) centres of the window's bins, u."""
        return self.origin + self.unit * (np.arange(self.time_bins) + 0.5) / self.time_bins

    @property
    def lags(self) -> np.ndarray:
        """(2·time_bins + 1,) distances between bin centres, from minus to plus one window, u."""
        return self.width * np.arange(-self.time_bins, self.time_bins + 1)

    @property
    def sharpnesses(self) -> np.ndarray:
        """(sharpness_bins,) the sharpness that stands for each bin (1/u); the last is a step."""
        middle = np.sqrt(self.sharpness_edges[1:] * self.sharpness_edges[:-1])
        middle[-1] = 2 * STEP_SHARPNESS * self.time_bins / self.unit
        return middle

    @property
    def sharpness_ratio(self) -> float:
        """Width of a sharpness bin in ln(sharpness)."""
        return float(np.log(STEP_SHARPNESS * self.time_bins / LEAST_SHARPNESS)) / (self.sharpness_bins - 1)

    @property
    def distances(self) -> np.ndarray:
        """(outside_bins,) the distance to the window that stands for each outside bin, u; nearest first."""
        border = self.distance_edges
        return np.concatenate([[border[1] / 2], np.sqrt(border[2:] * border[1:-1])])

    @property
    def distance_edges(self) -> np.ndarray:
        """(outside_bins + 1,) borders of the outside bins, u; the last takes all beyond."""
        return self.unit * np.concatenate([[0.0], 2.0 ** (0.5 * np.arange(1 - self.outside_bins, 1))])

    @property
    def sharpness_edges(self) -> np.ndarray:
        """(sharpness_bins + 1,) borders of the sharpness bins (1/u); the first and the last take all beyond."""
        return LEAST_SHARPNESS / self.unit * np.exp(self.sharpness_ratio * np.arange(self.sharpness_bins + 1))

    @property
    def inside(self) -> slice:
        """The window's bins among all time bins, which run from early to late."""
        return slice(self.outside_bins, self.outside_bins + self.time_bins)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(2, time bins with those outside, sharpness bins) of a histogram: falling and rising losses apart."""
        return 2, self.time_bins + 2 * self.outside_bins, self.sharpness_bins

    def coordinate(self, axis):
        """u of axis values, float64."""
        axis = np.asarray(axis, np.float64)
        return np.log(axis) if self.scale == "log" else axis

    def axis(self, u):
        """Axis values at u, float64."""
        u = np.asarray(u, np.float64)
        return np.exp(u) if self.scale == "log" else u

    def jacobian(self, u):
        """du/da at u, which turns a density over u into one over the axis: 1/a on the log scale, else 1."""
        return np.exp(-np.asarray(u, np.float64)) if self.scale == "log" else np.ones_like(u, np.float64)


def grid_over(axis, scale: Literal["linear", "log"], **options) -> SpectrumGrid:
    """The grid for checkpoints at these axis values; on a log scale one at 0 is left out, as fitting does.

    Args:
        axis: (checkpoints,) increasing axis values, as given to the fit.
        scale: that of the fits.
        options: further arguments of `SpectrumGrid`.

    Raises:
        ValueError: fewer than two usable checkpoints, or not increasing.

    Example:
        >>> from tsl_jax.spectrum import grid_over
        >>> grid_over([0, 10, 100, 1000], "log").first
        10.0
    """
    axis = np.asarray(axis, np.float64)
    if axis.ndim != 1 or not np.all(np.diff(axis) > 0):
        raise ValueError("axis: expected increasing values, one a checkpoint")
    used = axis[1:] if scale == "log" and len(axis) and axis[0] == 0 else axis
    if len(used) < 2:
        raise ValueError(f"axis: got {len(used)} usable checkpoints, expected at least 2")
    return SpectrumGrid(float(used[0]), float(used[-1]), scale, **options)
