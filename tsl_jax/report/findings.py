"""All that a report says, computed by the jobs: each a result, or the reason why there is none."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ..jobs import (
    Analysis,
    analyse,
    compare,
    describe_tokens,
    mean_curves,
    position_losses,
    read_spectrum,
)
from ..jobs.learning_times import LearningTimes, learning_times_data
from ..jobs.position_analysis import PositionAnalysis, analyse_positions
from ..jobs.positions import PositionLosses, position_sums
from ..jobs.predict import MeanCurves
from ..jobs.runs import Run, rates_until, run_of_losses
from ..jobs.spectrum.reading import StoreSpectrum
from ..jobs.token_sample import SampledTokens, sample_tokens
from ..messages import is_message
from ..runs import RunComparison
from ..store import ChunkError, FitStore, LossStore
from ..temporal import forecast
from ..temporal.forecasts.mean_loss import Forecast
from ..temporal.forecasts.ranking import seen_part

#: Token coordinates that `tsl spectrum` groups by where the store has them.
GROUPED_BY = ("domain", "token_frequency", "position", "dependency_length")
#: The part of a run that its forecast sees; the rest judges it.
SEEN = 0.5
_POINTS = 60
#: Fields of `Findings` that are sections of their own.
PARTS = ("times", "spectrum", "positions", "forecast", "comparison", "tokens")
Found = TypeVar("Found")
NO_LOSSES = "It needs the losses that were fitted: give --losses LOSSES (losses=)."


@dataclasses.dataclass(frozen=True)
class Unavailable:
    """No result: ``reason`` says why in a sentence; ``damaged``: what should be there cannot be read."""

    reason: str
    damaged: bool = False


@dataclasses.dataclass(frozen=True)
class HeldOutForecast:
    """A forecast from the beginning of a run, beside the losses that came.

    Attributes:
        seen: the part that the forecast saw.
        hidden_step: steps of the other losses.
        hidden_loss: those, nat.
        rates: learning rates that the forecast knew, by update; None: unknown.
        found: the forecast.
    """

    seen: Run
    hidden_step: np.ndarray
    hidden_loss: np.ndarray
    rates: np.ndarray | None
    found: Forecast


@dataclasses.dataclass(frozen=True)
class Findings:
    """What the sections are made of; `Unavailable` stands for what cannot be had.

    Attributes:
        fits: the store.
        losses: those that were fitted, where they were given.
        told: what `tsl info` says of all tokens.
        means: mean loss and mean of the fits, for families without a spectrum.
        times: events by domain and time.
        spectrum: the spectrum, with its checks.
        positions: the position law.
        forecast: from the first half of the run.
        comparison: with another run; None where none was given.
        tokens: a sample of them.
    """

    fits: FitStore
    losses: LossStore | None
    told: dict[str, Any]
    means: MeanCurves | Unavailable
    times: LearningTimes | Unavailable
    spectrum: Analysis | Unavailable
    positions: PositionAnalysis | Unavailable
    forecast: HeldOutForecast | Unavailable
    comparison: RunComparison | Unavailable | None
    tokens: SampledTokens | Unavailable


def find(
    fits: FitStore,
    losses: LossStore | None,
    other: FitStore | None,
    progress: Callable[[str], None] = lambda _: None,
) -> Findings:
    """Run the jobs over the stores, each in bounded memory: what needs fits beside what needs losses alone.

    Args:
        fits: of one run.
        losses: those that were fitted.
        other: fits of the same tokens in another run.
        progress: called with the name of each part before it begins, by two threads.
    """
    part = _Parts(progress)
    with ThreadPoolExecutor(1, "tsl-report") as beside:
        of_tokens = beside.submit(_of_tokens, part, fits, losses, other)
        read, means_by_position = _read(part, fits, losses)
        of_losses = beside.submit(_of_losses, part, losses, means_by_position)
        spectrum = read if isinstance(read, Unavailable) else part("spectrum", lambda: analyse(read))
        compared = isinstance(spectrum, Analysis) and spectrum.curves.value.comparison is not None
        means: MeanCurves | Unavailable = Unavailable(NO_LOSSES)
        if losses is not None and not compared:
            means = part("mean loss", lambda: mean_curves(losses, fits))
        times, comparison, tokens = of_tokens.result()
        positions, predicted = of_losses.result()
    return Findings(
        fits=fits,
        losses=losses,
        told=describe_tokens(fits),
        means=means,
        times=times,
        spectrum=spectrum,
        positions=positions,
        forecast=predicted,
        comparison=comparison,
        tokens=tokens,
    )


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Makes one part after the other, and says which."""

    progress: Callable[[str], None]

    def __call__(self, name: str, make: Callable[[], Found]) -> Found | Unavailable:
        """A result, or the message of an error that is one; mistakes go on."""
        self.progress(name)
        try:
            return make()
        except ValueError as error:
            if not is_message(error):
                raise
            return Unavailable(str(error), isinstance(error, ChunkError))


def _read(
    part: _Parts, fits: FitStore, losses: LossStore | None
) -> tuple[StoreSpectrum | Unavailable, PositionLosses | Unavailable]:
    """The walk over fits and losses: for the spectrum, and in the same for the losses by position."""
    by = [name for name in GROUPED_BY if name in fits.token_coordinates]
    if losses is None:
        return part("fits", lambda: read_spectrum(fits, by=by)), Unavailable(NO_LOSSES)
    axis = "step" if "step" in losses.axes else next(iter(losses.axes))
    job = part("positions", lambda: position_sums(losses, axis=axis))
    beside = None if isinstance(job, Unavailable) else job
    read = part("fits and losses", lambda: read_spectrum(fits, losses, by=by, positions=beside))
    if isinstance(job, Unavailable):
        return read, job
    if isinstance(read, StoreSpectrum) and read.positions is not None:
        return read, read.positions
    return read, part("losses", lambda: position_losses(losses, axis=axis))


def _of_tokens(
    part: _Parts, fits: FitStore, losses: LossStore | None, other: FitStore | None
) -> tuple[LearningTimes | Unavailable, RunComparison | Unavailable | None, SampledTokens | Unavailable]:
    """What comes of the fits themselves."""
    times = part("learning times", lambda: learning_times_data(fits))
    comparison = None if other is None else part("comparison", lambda: compare(fits, other))
    return times, comparison, part("tokens", lambda: sample_tokens(fits, losses))


def _of_losses(
    part: _Parts, losses: LossStore | None, means: PositionLosses | Unavailable
) -> tuple[PositionAnalysis | Unavailable, HeldOutForecast | Unavailable]:
    """The position law and the forecast."""
    if losses is None:
        return Unavailable(NO_LOSSES), Unavailable(NO_LOSSES)
    if isinstance(means, Unavailable):
        return means, part("forecast", lambda: _forecast(losses, None))
    law = part("position law", lambda: analyse_positions(means))
    known = means if means.axis_name == "step" else None
    return law, part("forecast", lambda: _forecast(losses, known))


class _NotThere(ValueError):
    """A result that cannot be made of what was given."""


def _forecast(losses: LossStore, positions: PositionLosses | None) -> HeldOutForecast:
    run = run_of_losses(losses, positions)
    seen = run.until(run.step[seen_part(run.step, SEEN)][-1])
    hidden = slice(len(seen.step), None)
    if not len(run.step[hidden]):
        raise _NotThere("Too few checkpoints: none is left to judge a forecast by.")
    last = float(run.step[-1])
    rates = rates_until(seen, last)
    # The steps of `tsl forecast`: bands come from drawn paths, which depend on all of them.
    between = np.geomspace(seen.step[-1] + 1, max(last, seen.step[-1] + 1), _POINTS).round()
    at = np.union1d(between[between > seen.step[-1]], run.step[hidden])
    found = forecast(seen.step, seen.loss, at, learning_rate=rates)
    return HeldOutForecast(seen, run.step[hidden], run.loss[hidden], rates, found)
