"""Which laws to use, and how strongly to shrink them: judged by runs, and model sizes, that no fit has seen."""

import dataclasses
import itertools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ...jax_switches import with_own_switches
from ..clock.schedule_rows import History
from .cross_validation import held_out_error, leave_one_run_out
from .interface import ScheduleLaw
from .law_fit import LawFit, LawFitOptions, fit_law
from .schedule_laws import AnnealingLaw, MemoryLaw, MultiPowerLaw

#: Laws that are tried, and strengths of shrinkage; weaker ones leave fits of three runs in local minima.
LAWS_TRIED: tuple[ScheduleLaw, ...] = (
    *(AnnealingLaw(), MultiPowerLaw(), MultiPowerLaw(2.0), MultiPowerLaw(4.0)),
    *(MemoryLaw(2.0, 0.0), MemoryLaw(2.0), MemoryLaw(3.0), MemoryLaw(4.0)),
)
STRENGTHS = (0.01, 0.03, 0.1, 0.3)


@dataclasses.dataclass(frozen=True)
class SizeRuns:
    """Finished runs of one model size, joined.

    Args:
        history: rows of all runs, as `join_histories` puts them together.
        loss: (rows,) mean losses, nat.
        run: (rows,) which run a row belongs to, 0, 1, ...
        fitted: numbers of the runs that a fit may see; the others are predicted from it. ``None``: every run is
            predicted from all others of its size.
    """

    history: History
    loss: Float[np.ndarray, " rows"]
    run: Int[np.ndarray, " rows"]
    fitted: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class LawChoice:
    """What `choose_laws` found.

    Attributes:
        laws: one law, or several whose predictions are averaged with equal weights.
        strengths: of the shrinkage of each.
        error: mean absolute error (nat) of the average on what no fit has seen, over all sizes and runs.
        alone: the same of every law that was tried, by itself at its best strength: (law, strength, error).
    """

    laws: tuple[ScheduleLaw, ...]
    strengths: tuple[float, ...]
    error: float
    alone: tuple[tuple[ScheduleLaw, float, float], ...]

    def fit(
        self,
        history: History,
        loss: Float[Array | np.ndarray, " rows"],
        *,
        options: LawFitOptions = LawFitOptions(),
    ) -> "LawAverage":
        """The chosen laws fitted to runs, each as strongly shrunk as was chosen; see `fit_law`."""
        pairs = zip(self.laws, self.strengths, strict=True)
        return LawAverage(
            tuple(fit_law(law, history, loss, shrinkage=law.shrinkage(x), options=options) for law, x in pairs)
        )


@dataclasses.dataclass(frozen=True)
class LawAverage:
    """Several fitted laws whose predictions count alike.

    Attributes:
        fits: `LawFit` of each.
    """

    fits: tuple[LawFit, ...]

    def predict(self, history: History) -> Float[Array, " rows"]:
        """Mean loss (nat) at each row of a schedule."""
        return jnp.mean(jnp.stack([fit.predict(history) for fit in self.fits]), axis=0)


@with_own_switches
def choose_laws(
    sizes: Sequence[SizeRuns],
    *,
    laws: Sequence[ScheduleLaw] = LAWS_TRIED,
    strengths: Sequence[float] = STRENGTHS,
    most: int = 2,
    options: LawFitOptions = LawFitOptions(),
) -> LawChoice:
    """Chooses laws and their shrinkage by how well they predict runs that no fit has seen.

        ``min over sets of laws of  mean over sizes and hidden runs of  mean |average of predictions - loss|``

    For a model size of its own, hand over the *other* sizes: what is chosen there has seen nothing of it. Which of the
    laws is right the runs of a few sizes hardly decide, so that sets of up to ``most`` laws of different kinds, whose
    predictions count alike, compete with single ones. Laws are tried at each strength of shrinkage
    (`ScheduleLaw.shrinkage`).

    Args:
        sizes: runs of each model size.
        laws: what is tried.
        strengths: of the shrinkage, what is tried.
        most: most laws in an average.
        options: of the fits.

    Returns:
        `LawChoice`; its ``fit`` fits what was chosen.

    Raises:
        ValueError: no size, law or strength, ``most`` below 1, a size without a run to predict, or what `fit_law`
            refuses.

    Example:
        >>> from tsl_jax.temporal import AnnealingLaw, MemoryLaw, history, join_histories, schedule_from_rates
        >>> rates = [np.full(400, 1e-3), np.repeat([1e-3, 1e-4], 200), np.repeat([1e-3, 5e-4], 200)]
        >>> seen = join_histories([history(schedule_from_rates(rate), np.arange(40, 401, 40)) for rate in rates])
        >>> truth = dict(floor=2.0, coefficient=1.0, exponent=0.4, excess=100.0, memory=30.0)
        >>> runs = SizeRuns(seen, np.asarray(AnnealingLaw().predict(truth, seen)), np.repeat([0, 1, 2], 10))
        >>> chosen = choose_laws([runs], laws=[AnnealingLaw()], strengths=[1e-3])
        >>> chosen.laws, bool(chosen.error < 1e-3)
        ((AnnealingLaw(),), True)

    Source: averages with equal weights: C. Genre and others, Int. J. Forecasting 29 (2013).
    """
    given = {"sizes": sizes, "laws": laws, "strengths": strengths}
    for name, values in given.items():
        if not len(values):
            raise ValueError(f"{name}: got none, expected at least one")
    if most < 1:
        raise ValueError(f"most: got {most}, expected at least 1")
    found = [_law_predictions(law, sizes, tuple(strengths), options) for law in laws]
    errors = [_errors(each, sizes) for each in found]
    best = [int(np.argmin(each)) for each in errors]
    alone = tuple((law, strengths[k], float(each[k])) for law, k, each in zip(laws, best, errors, strict=True))
    entries = list(itertools.product(range(len(laws)), range(len(strengths))))
    error, members = min(_averages(entries, found, laws, sizes, most), key=lambda each: each[0])
    return LawChoice(
        tuple(laws[i] for i, _ in members), tuple(float(strengths[k]) for _, k in members), float(error), alone
    )


def fit_laws(
    runs: SizeRuns,
    others: Sequence[SizeRuns] = (),
    *,
    laws: Sequence[ScheduleLaw] = LAWS_TRIED,
    options: LawFitOptions = LawFitOptions(),
) -> LawAverage:
    """Fits laws that are chosen by `choose_laws`: `fit_law` for who does not want to choose.

    Args:
        runs: what is fitted; all runs of it.
        others: runs of other sizes, by which laws are chosen; by default each run of ``runs`` from its others.
        laws: what is tried.
        options: of the fits.

    Returns:
        `LawAverage`.

    Raises:
        ValueError: what `choose_laws` refuses.

    Example:
        >>> from tsl_jax.temporal import TimePowerLaw, history, join_histories, schedule_from_rates
        >>> rates = [np.full(400, 1e-3), np.repeat([1e-3, 1e-4], 200)]
        >>> seen = join_histories([history(schedule_from_rates(rate), np.arange(40, 401, 40)) for rate in rates])
        >>> loss = TimePowerLaw().predict(dict(floor=2.0, coefficient=1.0, exponent=0.4), seen)
        >>> found = fit_laws(SizeRuns(seen, np.asarray(loss), np.repeat([0, 1], 10)), laws=[TimePowerLaw()])
        >>> bool(np.allclose(found.predict(seen), loss, atol=1e-3))
        True
    """
    return choose_laws(others or [runs], laws=laws, options=options).fit(runs.history, runs.loss, options=options)


def _law_predictions(law: ScheduleLaw, sizes, strengths, options) -> list[np.ndarray]:
    """Of each size (strengths, rows) predictions; rows of runs that the fit has seen count for nothing."""
    shrinkage = np.stack([law.shrinkage(strength) for strength in strengths])
    if not law.has_excess:  # nothing to shrink: one fit does for all strengths
        shrinkage = shrinkage[:1]
    predicted = []
    for runs in sizes:
        run = np.asarray(runs.run)
        if runs.fitted is None:
            rows = leave_one_run_out(law, runs.history, runs.loss, run, shrinkage=shrinkage, options=options)
        else:
            weights = np.isin(run, runs.fitted).astype(np.float64)
            if not 0 < weights.sum() < len(run):
                raise ValueError(
                    f"fitted: got runs {runs.fitted} of {sorted(set(run.tolist()))}, expected some and not all"
                )
            given = law, runs.history, runs.loss
            fits = [fit_law(*given, weights=weights, shrinkage=strength, options=options) for strength in shrinkage]
            rows = np.stack([fit.predict(runs.history) for fit in fits])
        rows = np.asarray(rows)
        predicted.append(np.broadcast_to(rows, (len(strengths), rows.shape[1])))
    return predicted


def _errors(predicted: list[np.ndarray], sizes) -> np.ndarray:
    """Mean absolute error over sizes and hidden runs, of each leading index."""
    each = []
    for rows, runs in zip(predicted, sizes, strict=True):
        by_run = held_out_error(rows, runs.loss, runs.run)
        hidden = np.setdiff1d(np.arange(by_run.shape[-1]), runs.fitted or ())
        each.append(np.mean(by_run[..., hidden], axis=-1))
    return np.mean(each, axis=0)


def _averages(entries, found, laws, sizes, most: int):
    """Error and members of every set of up to ``most`` entries of different kinds of law."""
    for number in range(1, most + 1):
        for members in itertools.combinations(entries, number):
            if len({laws[i].name for i, _ in members}) == number:
                mean = [np.mean([found[i][s][k] for i, k in members], axis=0) for s in range(len(sizes))]
                yield float(_errors(mean, sizes)), members
