"""All curves of a spectrum as one function of its sums: of those that were read, and of every replicate's."""

import dataclasses
import functools
from typing import Any, Literal

import jax
import numpy as np

from ...spectrum import (
    GroupTimes,
    Kind,
    Moments,
    PulseGroups,
    SecondEvents,
    SpectrumGrid,
    TimeErrors,
    broadening,
    decompose,
    pulse_groups,
    second_events,
)
from ...spectrum.comparison import compare_parts
from ...spectrum.events import DROP_UNIT
from ...spectrum.groups import EventSums, times_of
from ...spectrum.mean_loss import loss_along
from ...spectrum.modes import all_pulse_modes
from ...spectrum.tail.fit import default_cuts
from ...spectrum.tail.many import tails_of_rows
from ...spectrum.tail.masses import Cuts, TailMasses, tail_masses
from .results import Analysis, Curves

_MOST_BINS, _LEAST_BINS, _EVENTS_PER_BIN = 64, 8, 50
#: Tokens whose part of the gap between losses and fits is told.
_GAPS = ("second", "constant")


@dataclasses.dataclass(frozen=True)
class CurvesOf:
    """The function whose bands are taken; equal ones are compiled once."""

    time: tuple[float, ...] | None
    weighting: Literal["count", "drop"]
    outside: Literal["own", "edge", "inside"]
    bins: int
    pulse_groups: int
    bandwidth: float

    def __call__(
        self, moments: Moments, sums: dict[str, np.ndarray] | None, groups: EventSums | None, errors: TimeErrors
    ) -> tuple[Curves, TailMasses, GroupTimes | None]:
        """Of one replicate, in NumPy: the curves without tails, and what those will be fitted to."""
        times = None if groups is None else times_of(groups, self.bins)
        return self._curves(moments, sums, errors), tail_masses(moments, _cuts(moments.grid)), times  # type: ignore[arg-type]

    def with_tails(self, found: tuple[Curves, TailMasses, GroupTimes | None]) -> tuple[Curves, GroupTimes | None]:
        """Of all replicates, each array with one more axis in front: with the tails, fitted together."""
        curves, (masses, per_mass, stop, per_token), times = found
        masses, per_mass = np.asarray(masses), np.asarray(per_mass)
        grid, number = curves.parts.grid, masses.shape[1]
        flat = masses.reshape(-1, masses.shape[-1]), per_mass.ravel(), np.repeat(np.asarray(stop), number)
        tails = tails_of_rows(grid, *flat, _cuts(grid))
        tails = jax.tree.map(lambda values: values.reshape(-1, number), tails)
        tails = dataclasses.replace(tails, mass=tails.mass * np.asarray(per_token)[:, None])
        by_name = {name: jax.tree.map(lambda v, i=i: v[:, i], tails) for i, name in enumerate(("count", "drop"))}
        return dataclasses.replace(curves, tails=by_name), times

    def _curves(self, moments: Moments, sums: dict[str, np.ndarray] | None, errors: TimeErrors) -> Curves:
        parts = decompose(moments, weighting=self.weighting, outside=self.outside)
        number, grid = self.pulse_groups, moments.grid
        drops = np.sum(moments.drop, (0, 2))
        total = np.sum(drops)
        inside = np.sum(drops[grid.inside])
        loss = fitted = comparison = second = None
        if sums is not None:
            there = np.where(sums["number"] > 0, sums["number"], np.nan)
            loss, fitted = sums["loss"] / there, sums["fit"] / there
            time = np.asarray(self.time)
            comparison = compare_parts(moments, parts, time, loss, fitted, bandwidth=self.bandwidth)  # type: ignore[arg-type]
            second = self._second(grid, time, sums, there)
        return Curves(
            parts=parts,
            density=np.mean(parts.spectrum.reshape(-1, self.bins, grid.time_bins // self.bins), -1),
            implied_loss=loss_along(moments, parts.implied * grid.width, np.arange(grid.time_bins + 1.0)),  # type: ignore[arg-type]
            pulses=_near(pulse_groups(moments, number)),
            modes=all_pulse_modes(moments, number),
            tails={},
            outside=np.where(total > 0, 1 - inside / np.maximum(total, 1e-30), np.nan),
            broadening=broadening(moments, errors, bins=self.bins, weighting=self.weighting),
            mean_loss=loss,
            mean_fit=fitted,
            comparison=comparison,
            second=second,
        )

    def _second(
        self, grid: SpectrumGrid, time: np.ndarray, sums: dict[str, np.ndarray], there: np.ndarray
    ) -> SecondEvents:
        means: dict[str, Any] = {}
        gap: Any = (sums["loss"] - sums["fit"]) / there
        of_second: Any
        of_constant: Any
        of_second, of_constant = (sums[f"{kind}_gap"] / there for kind in _GAPS)
        tokens: Any = np.sum(sums["second_number"]) / np.sum(sums["number"])
        if "other" in sums:
            both = np.where(sums["both"] > 0, sums["both"], np.nan)
            means = {"mean_loss": sums["own"] / both, "other_run": sums["other"] / both}
        return second_events(grid, time, gap, of_second, of_constant, tokens, bandwidth=self.bandwidth, **means)


def _near(pulses: PulseGroups) -> PulseGroups:
    return dataclasses.replace(pulses, pulse=pulses.pulse @ _coarse(pulses.grid)[1].astype(np.float32))


def coarse_lags(grid: SpectrumGrid) -> np.ndarray:
    """(lags,) u: centres of the lag bins of `Curves.pulses`, a 64th of the window wide, up to half a window."""
    return _coarse(grid)[0]


@functools.lru_cache(maxsize=16)
def _cuts(grid: SpectrumGrid) -> Cuts:
    return jax.tree.map(np.asarray, default_cuts(grid))


@functools.lru_cache(maxsize=16)
def _coarse(grid: SpectrumGrid) -> tuple[np.ndarray, np.ndarray]:
    """Centres of wider lag bins, and the matrix that averages a pulse over them.

    Checkpoints tell nothing of a pulse within less than their spacing; on the grid's own lags steps stand out as
    spikes.
    """
    wider = max(1, grid.time_bins // _MOST_BINS)
    reach = grid.time_bins // 2 // wider
    bins = wider * np.arange(-reach, reach + 1)
    lags = np.arange(-grid.time_bins, grid.time_bins + 1)
    overlap = np.minimum(lags[:, None] + 0.5, bins + wider / 2) - np.maximum(lags[:, None] - 0.5, bins - wider / 2)
    return grid.width * bins, np.clip(overlap, 0, None) / wider


def shown_bins(time_bins: int, checkpoints: int, events: int) -> int:
    """Bins on which a density is shown: no more than checkpoints or 64, and some 50 events in each; a divisor."""
    most = max(min(_MOST_BINS, checkpoints, events // _EVENTS_PER_BIN), _LEAST_BINS)
    return max(number for number in range(1, min(most, time_bins) + 1) if time_bins % number == 0)


def tail_curve(analysis: Analysis) -> tuple[np.ndarray, np.ndarray]:
    """The tail's law as a density over u that has the area of the falling events in the tail."""
    grid, tail = analysis.read.spectrum.grid, analysis.curves.value.tails["count"]
    if not np.isfinite(float(tail.exponent)):
        return np.empty(0), np.empty(0)
    a = np.geomspace(float(tail.lower), float(tail.upper), 60)
    law = a ** -float(tail.exponent) / grid.jacobian(grid.coordinate(a))  # p(u) = p(a) da/du
    u = grid.coordinate(a)
    # Only losses that fall; p of all events includes those that rise, in the tail too.
    spectrum, middle = analysis.read.spectrum, grid.axis(grid.centres)
    within = (middle > a[0]) & (middle < a[-1])
    by_drop = analysis.options.weighting == "drop"
    cells = DROP_UNIT * spectrum.drop.integers() if by_drop else spectrum.count.integers()
    count = cells.sum((0, 3))[0, grid.inside][within].sum()
    tokens = spectrum.kinds.integers()[:, : Kind.CONSTANT + 1].sum()
    weight = float(np.asarray(analysis.curves.value.parts.weight)[0]) * tokens
    return a, law * count / weight / np.trapezoid(law, u)
