"""All curves and numbers of a spectrum that was read from a store, each with its bootstrap band."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Array

from ...curves import PowerLaw
from ...spectrum import Bands, Kind
from ...spectrum.bootstrap import poisson_weights
from ...spectrum.groups import stacked
from ...spectrum.on_host import known_bands_of_sums
from . import checks as spectrum_checks
from .curves import CurvesOf, shown_bins
from .mean_loss_law import implied_curves, power_laws
from .reading import LossSums, StoreSpectrum
from .reasons import LEAST_CHECKPOINTS, LEAST_RESAMPLES, reasons_of
from .results import Analysis, AnalysisOptions, GroupResult

_DEFAULT = AnalysisOptions()


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
    checkpoints, sums = _usable_losses(read.losses)
    compared = sums if len(checkpoints) >= LEAST_CHECKPOINTS else None
    key = jax.random.key(options.seed)
    resamples = int(np.sum(spectrum.kinds.integers()[:, : Kind.CONSTANT + 1].any(1)))
    banded = resamples >= LEAST_RESAMPLES
    function = CurvesOf(
        time=None if compared is None else tuple(read.axis[checkpoints].tolist()),
        weighting=options.weighting,
        outside=options.outside,
        bins=shown_bins(spectrum.grid.time_bins, len(read.axis), spectrum.tokens["LEARNED"]),
        pulse_groups=options.pulse_groups,
        bandwidth=options.bandwidth,
    )
    by_resample = jax.tree.map(np.asarray, spectrum.moments_by_resample())
    by_group = stacked([group.counts for group in read.groups.values()]) if read.groups else None
    # In NumPy: as a program they take longer to compile than to compute.
    found = known_bands_of_sums(
        function,
        (by_resample, compared, by_group, read.errors),
        key,
        replicates=options.replicates,
        level=options.level,
        together=function.with_tails,
    )
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
            {name: np.nanquantile(values[1:], fraction) for name, values in params.items()}
            for fraction in ((1 - options.level) / 2, (1 + options.level) / 2)
        )
    return Bands({name: values[0] for name, values in params.items()}, low, high)


def _without_bands(value: Bands) -> Bands:
    unknown = jax.tree.map(lambda array: np.full_like(array, np.nan), value.value)
    return Bands(value.value, unknown, unknown)
