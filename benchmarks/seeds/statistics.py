"""How far what is said of a token in one run holds in another run of the same tokens."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from tsl_jax import Category, with_run_components
from tsl_jax.jobs.scores.density import event_density
from tsl_jax.reshape import EventDensity
from tsl_jax.runs import RunComponents
from tsl_jax.store import FitStore

#: Compared parameters: their name in the report, and whether their logarithm is what is compared.
PARAMETERS = {
    "learning_time": ("ln learning time", True),
    "sharpness": ("ln sharpness", True),
    "loss_drop": ("drop", False),
    "final_loss": ("final loss", False),
}

LEVEL, _QUANTILE = 0.9, 1.6449


@dataclasses.dataclass(frozen=True)
class Run:
    """Fits of the same tokens in one run.

    Attributes:
        params: (tokens,) by name.
        stderr: (tokens,) by name, NaN where it is not known.
        status: (tokens,) `tsl_jax.Status`.
        category: (tokens,) `tsl_jax.Category`.
        unlearned: (tokens,) probability that there is no event.
        r2: (tokens,) of the fits.
        density: when the run's tokens are learned.
        sequence: (tokens,) number of the validation sequence.
    """

    params: dict[str, np.ndarray]
    stderr: dict[str, np.ndarray]
    status: np.ndarray
    category: np.ndarray
    unlearned: np.ndarray
    r2: np.ndarray
    density: EventDensity
    sequence: np.ndarray

    @property
    def learned(self) -> Bool[np.ndarray, " tokens"]:
        """(tokens,) whether the event lies within the measured steps; the loss may fall or rise."""
        return self.category == Category.LEARNED


def read_run(store: FitStore) -> Run:
    """`Run` of a finished fit store."""
    fits = store.read()
    params, stderr = (
        {name: np.asarray(values, np.float64) for name, values in part.items()} for part in (fits.params, fits.stderr)
    )
    return Run(
        params,
        stderr,
        fits.status,
        fits.category,
        fits.probabilities["unlearned"],
        fits.r2,
        event_density(store),
        store.read_coordinate("sequence"),
    )


def fraction(hits: Bool[np.ndarray, " tokens"], sequence: Int[np.ndarray, " tokens"]) -> dict:
    """Fraction of tokens, with a standard error that knows that tokens of a sequence are alike.

    ``sqrt(Σ (h - fraction·n)²) / Σ n`` over sequences with n tokens and h hits each: the ratio of two sums over them.

    Returns:
        ``fraction``, ``stderr`` and ``tokens``; the first two None without tokens.
    """
    if not len(hits):
        return {"fraction": None, "stderr": None, "tokens": 0}
    _, place = np.unique(sequence, return_inverse=True)
    tokens, found = np.bincount(place), np.bincount(place, hits)
    mean = float(np.mean(hits))
    error = float(np.sqrt(np.sum((found - mean * tokens) ** 2)) / len(hits))
    return {"fraction": mean, "stderr": error, "tokens": len(hits)}


def difference(
    one: Run, other: Run, name: str
) -> tuple[Float[np.ndarray, " tokens"], Float[np.ndarray, " tokens"], Bool[np.ndarray, " tokens"]]:
    """Difference of a parameter between two runs, the standard error claimed for it, and where both are known.

    The error of ln x is stderr/x; errors of two runs add as ``sqrt(sa² + sb²)``. Known: LEARNED in both, with finite
    errors.
    """
    logarithm = PARAMETERS[name][1]
    value, error = [], []
    with np.errstate(invalid="ignore", divide="ignore"):
        for run in (one, other):
            value.append(np.log(run.params[name]) if logarithm else run.params[name])
            error.append(run.stderr[name] / run.params[name] if logarithm else run.stderr[name])
        away, claimed = value[0] - value[1], np.hypot(*error)
    known = one.learned & other.learned & np.isfinite(away) & np.isfinite(claimed) & (claimed > 0)
    return away, claimed, known


def coverage(away: np.ndarray, claimed: np.ndarray, sequence: np.ndarray) -> dict:
    """How often differences lie within their 90% interval, and how wide they are in units of their errors.

    Args:
        away: (tokens,) differences.
        claimed: (tokens,) their standard errors.
        sequence: (tokens,) numbers of their sequences.

    Returns:
        `fraction` of those within 1.645 errors, and ``half_width``: half of what lies between the 16th and the 84th
        percentile of ``away / claimed``, 1 where errors are true; None without tokens.
    """
    z = away / claimed
    low, high = np.percentile(z, [16, 84]) if len(z) else (np.nan, np.nan)
    width = float(high - low) / 2
    return fraction(np.abs(z) <= _QUANTILE, sequence) | {"half_width": width if len(z) else None}


def compared(one: Run, other: Run, edges: Sequence[float] = (0, np.inf)) -> dict:
    """What two runs say of each other.

    Args:
        one: fits of the first run.
        other: those of the second.
        edges: of windows of training, axis units.

    Returns:
        Coverage of all parameters, of all tokens and by the window that the geometric mean of their learning times lies
        in; the rank correlation of learning times; which categories repeat.
    """
    both = one.learned & other.learned
    times = [run.params["learning_time"] for run in (one, other)]
    together = np.sqrt(np.where(both, times[0] * times[1], np.nan))
    return {
        "learned_in_both": int(both.sum()),
        "parameters": _coverages(one, other, both),
        "by_learning_time": {
            window_name(start, end): _coverages(one, other, both & (start < together) & (together <= end))
            for start, end in itertools.pairwise(edges)
        },
        "rank_correlation": _rank_correlation(*(time[both] for time in times)),
        "categories": repeated(one, other),
    }


def widened_coverage(one: Run, other: Run, components: RunComponents, edges: Sequence[float]) -> dict:
    """Coverage with errors between runs, of all tokens, in thirds by their learning times and in windows of these.

    Args:
        one: fits of the first run.
        other: those of the second.
        components: how runs differ; each run's errors are widened by its own values.
        edges: of windows of training, axis units.
    """
    runs = [
        dataclasses.replace(run, stderr=with_run_components(run.params, run.stderr, components)) for run in (one, other)
    ]
    both = one.learned & other.learned
    time = np.sqrt(np.where(both, one.params["learning_time"] * other.params["learning_time"], np.nan))
    thirds = np.quantile(time[both], [0, 1 / 3, 2 / 3, 1]) if both.any() else np.zeros(4)
    named = zip(("first third", "second third", "last third"), itertools.pairwise(thirds), strict=True)
    chosen = {"all": both} | {
        f"{name}, {start:.0f} to {end:.0f}": both & (start <= time) & (time <= end) for name, (start, end) in named
    }
    chosen |= {
        window_name(start, end): both & (start < time) & (time <= end) for start, end in itertools.pairwise(edges)
    }
    return {name: _coverages(runs[0], runs[1], where) for name, where in chosen.items()}


def window_name(start: float, end: float) -> str:
    """What a window is called in results."""
    return f"{start:g} to {end:g}"


def _coverages(one: Run, other: Run, chosen: np.ndarray) -> dict:
    found = {}
    for name in PARAMETERS:
        away, claimed, known = difference(one, other, name)
        found[name] = coverage(away[chosen & known], claimed[chosen & known], one.sequence[chosen & known])
    return found


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's, None of fewer than three."""
    if len(one) < 3:
        return None
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def kinds(run: Run) -> dict[str, Bool[np.ndarray, " tokens"]]:
    """Tokens of each category; those that are LEARNED apart by whether their loss falls or rises."""
    falls = run.params["loss_drop"] > 0
    found = {"LEARNED, falls": run.learned & falls, "LEARNED, rises": run.learned & ~falls}
    others = (Category.EARLY, Category.LATE, Category.UNLEARNED)
    return found | {category.name: run.category == category for category in others}


def repeated(one: Run, other: Run) -> dict:
    """By kind of token, `fraction` of those in the first run that are so in the other, and how many are anyway."""
    there = kinds(other)
    return {
        name: fraction(there[name][chosen], one.sequence[chosen]) | {"by_chance": float(np.mean(there[name]))}
        for name, chosen in kinds(one).items()
    }
