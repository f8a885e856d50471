"""All curves and numbers of a spectrum that was read from a store, each with its bootstrap band."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...curves import PowerLaw
from ...spectrum import (
    Bands,
    GroupTimes,
    Kind,
    Moments,
    PulseGroups,
    SecondEvents,
    SpectrumGrid,
    TimeErrors,
    bands_of_sums,
    broadening,
    decompose,
    pulse_groups,
    second_events,
)
from ...spectrum.bootstrap import poisson_weights
from ...spectrum.comparison import compare_parts
from ...spectrum.groups import GroupSums, stacked, times_of
from ...spectrum.mean_loss import loss_along
from ...spectrum.sharing import all_pulse_modes
from ...spectrum.tail.fit import default_cuts, fit_cut_tails
from . import checks as spectrum_checks
from .mean_loss_law import implied_curves, power_laws
from .reading import LossSums, StoreSpectrum
from .reasons import LEAST_CHECKPOINTS, LEAST_RESAMPLES, reasons_of
from .results import Analysis, AnalysisOptions, Curves, GroupResult

_DEFAULT = AnalysisOptions()
_MOST_BINS, _LEAST_BINS, _EVENTS_PER_BIN = 64, 8, 50


def analyse(read: StoreSpectrum, options: AnalysisOptions = _DEFAULT) -> Analysis:
    """Decompose, compare, and fit tails, with bands by the Poisson bootstrap over groups of whole sequences.

    Args:
        read: from `read_spectrum`.
        options: how.

    Returns:
        `Analysis`.

    Example:
        >>> import numpy as np, zarr, tsl_jax as tsl
        >>> from tsl_jax.jobs import AnalysisOptions, analyse, read_spectrum
        >>> from tsl_jax.spectrum import SpectrumGrid
        >>> step = np.geomspace(1, 1e4, 32)
        >>> losses = 1 + 5 / (1 + (step / np.geomspace(10, 800, 40)[:, None]) ** 3)
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = tsl.create_losses(source, losses.astype("float32"), checkpoints={"step": step})
        >>> _ = tsl.fit_store(source, target, tsl.Sigmoid())
        >>> grid = SpectrumGrid(1.0, 1e4, time_bins=64, resamples=16)
        >>> result = analyse(read_spectrum(target, source, grid=grid), AnalysisOptions(replicates=20))
        >>> round(float(result.curves.value.comparison.scores["fitted of observed"].r2), 2)
        1.0

    Source: arXiv 2606.29858.
    """
    spectrum = read.spectrum
    spectrum_checks.start_compiling(spectrum.grid)
    checkpoints, sums = _usable_losses(read.losses)
    compared = sums if len(checkpoints) >= LEAST_CHECKPOINTS else None
    key = jax.random.key(options.seed)
    resamples = int(np.sum(spectrum.kinds.integers()[:, : Kind.CONSTANT + 1].any(1)))
    banded = resamples >= LEAST_RESAMPLES
    function = _CurvesOf(
        time=None if compared is None else tuple(read.axis[checkpoints].tolist()),
        weighting=options.weighting,
        outside=options.outside,
        bins=shown_bins(spectrum.grid.time_bins, len(read.axis), spectrum.tokens["LEARNED"]),
        pulse_groups=options.pulse_groups,
        bandwidth=options.bandwidth,
    )
    by_resample = spectrum.moments_by_resample()
    by_group = stacked([group.counts for group in read.groups.values()]) if read.groups else None
    # All curves of all tokens and groups from one program: programs take longer to compile than to run.
    found = bands_of_sums(
        function,
        (by_resample, compared, by_group, read.errors),
        key,
        replicates=options.replicates,
        level=options.level,
    )
    # On the host: slices on the device would each compile a program.
    found = jax.tree.map(np.asarray, found)
    curves, times = (Bands(*(end[i] for end in (found.value, found.low, found.high))) for i in (0, 1))
    tail = curves.value.tails["count"]
    groups, row = {}, 0
    for name, group in read.groups.items():
        rows = slice(row, row := row + len(group.grouping.labels) + 1)
        mine = jax.tree.map(lambda values, rows=rows: values[rows], times)
        groups[name] = GroupResult(group.grouping, mine, group.counts.tokens)
    law = _mean_loss_law(read, compared, checkpoints, float(tail.lower), key, options)
    goodness, rivals, bound = spectrum_checks.check(spectrum, tail, key)
    if not banded:
        curves, law = _without_bands(curves), _without_bands(law)
        groups = {name: dataclasses.replace(one, times=_without_bands(one.times)) for name, one in groups.items()}
    return Analysis(
        read=read,
        options=options,
        checkpoints=checkpoints if compared is not None else checkpoints[:0],
        curves=curves,
        mean_loss_law=law,
        goodness=float(goodness),
        rivals=rivals,
        bound=bound,
        groups=groups,
        resamples=resamples,
        reasons=tuple(reasons_of(read, curves.value, checkpoints, resamples)),
    )


@dataclasses.dataclass(frozen=True)
class _CurvesOf:
    """The function whose bands are taken; equal ones are compiled once."""

    time: tuple[float, ...] | None
    weighting: Literal["count", "drop"]
    outside: Literal["own", "edge", "inside"]
    bins: int
    pulse_groups: int
    bandwidth: float

    def __call__(
        self, moments: Moments, sums: dict[str, Array] | None, groups: GroupSums | None, errors: TimeErrors
    ) -> tuple[Curves, GroupTimes | None]:
        return self._curves(moments, sums, errors), None if groups is None else times_of(groups, self.bins)

    def _curves(self, moments: Moments, sums: dict[str, Array] | None, errors: TimeErrors) -> Curves:
        parts = decompose(moments, weighting=self.weighting, outside=self.outside)
        number, grid = self.pulse_groups, moments.grid
        drops = jnp.sum(moments.drop, (0, 2))
        total = jnp.sum(drops)
        inside = jnp.sum(drops[grid.inside])
        loss = fitted = comparison = second = None
        if sums is not None:
            there = jnp.where(sums["number"] > 0, sums["number"], jnp.nan)
            loss, fitted = sums["loss"] / there, sums["fit"] / there
            time = np.asarray(self.time)
            comparison = compare_parts(moments, parts, time, loss, fitted, bandwidth=self.bandwidth)  # type: ignore[arg-type]
            second = self._second(grid, time, sums, there)
        return Curves(
            parts=parts,
            density=jnp.mean(parts.spectrum.reshape(-1, self.bins, grid.time_bins // self.bins), -1),
            implied_loss=loss_along(moments, parts.implied * grid.width, np.arange(grid.time_bins + 1.0)),  # type: ignore[arg-type]
            pulses=_near(pulse_groups(moments, number)),
            modes=all_pulse_modes(moments, number),
            tails=fit_cut_tails(moments, default_cuts(grid)),
            outside=jnp.where(total > 0, 1 - inside / jnp.maximum(total, 1e-30), jnp.nan),
            broadening=broadening(moments, errors, bins=self.bins, weighting=self.weighting),
            mean_loss=loss,
            mean_fit=fitted,
            comparison=comparison,
            second=second,
        )

    def _second(self, grid: SpectrumGrid, time: np.ndarray, sums: dict[str, Array], there: Array) -> SecondEvents:
        means = {}
        if "other" in sums:
            both = jnp.where(sums["both"] > 0, sums["both"], jnp.nan)
            means = {"mean_loss": sums["own"] / both, "other_run": sums["other"] / both}
        return second_events(
            grid,
            time,
            (sums["loss"] - sums["fit"]) / there,  # type: ignore[arg-type]
            sums["second_gap"] / there,
            sums["constant_gap"] / there,
            jnp.sum(sums["second_number"]) / jnp.sum(sums["number"]),
            bandwidth=self.bandwidth,
            **means,
        )


def _near(pulses: PulseGroups) -> PulseGroups:
    matrix = jnp.asarray(_coarse(pulses.grid)[1], jnp.float32)
    return dataclasses.replace(pulses, pulse=jnp.matmul(pulses.pulse, matrix, precision=jax.lax.Precision.HIGHEST))


def coarse_lags(grid: SpectrumGrid) -> np.ndarray:
    """(lags,) u: centres of the lag bins of `Curves.pulses`, a 64th of the window wide, up to half a window."""
    return _coarse(grid)[0]


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


def _usable_losses(losses: LossSums | None) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
    if losses is None:
        return np.arange(0), None
    there = np.flatnonzero(losses.number.sum(0) > 0)
    return there, {name: values[:, there].astype(np.float32) for name, values in losses.present().items()}


def _mean_loss_law(
    read: StoreSpectrum,
    sums: dict[str, np.ndarray] | None,
    checkpoints: np.ndarray,
    lower: float,
    key: Array,
    options: AnalysisOptions,
) -> Bands:
    """Bands of ``coefficient·a^-exponent + floor`` on the mean loss after ``lower``; NaN where there is none."""
    nothing = {name: np.float32(np.nan) for name in PowerLaw().names}
    axis = read.axis[checkpoints] if sums is not None else read.axis
    late = np.flatnonzero(axis >= lower) if np.isfinite(lower) else np.arange(0)
    if len(late) < LEAST_CHECKPOINTS:
        return Bands(nothing, nothing, nothing)
    # The same draws as those of the bands, one fit of all replicates at once.
    resamples = read.spectrum.grid.resamples
    drawn = poisson_weights(key, options.replicates, resamples)
    weights = np.concatenate([np.ones((1, resamples)), np.asarray(drawn, np.float64)])
    if sums is not None:
        with np.errstate(invalid="ignore"):
            curves = (weights @ sums["loss"][:, late]) / (weights @ sums["number"][:, late])
    else:
        curves = implied_curves(read.spectrum, weights, axis[late])
    params = power_laws(axis[late], curves)
    with np.errstate(invalid="ignore"):
        low, high = (
            {name: np.nanquantile(values[1:], share) for name, values in params.items()}
            for share in ((1 - options.level) / 2, (1 + options.level) / 2)
        )
    return Bands({name: values[0] for name, values in params.items()}, low, high)


def _without_bands(value: Bands) -> Bands:
    unknown = jax.tree.map(lambda array: np.full_like(array, np.nan), value.value)
    return Bands(value.value, unknown, unknown)
