"""Scores of sequences that were never measured, predicted from features of those that were."""

import dataclasses

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

#: Penalties that are tried, as multiples of the number of sequences.
_PENALTIES = np.logspace(-6, 2, 33)
_LEAST_SEQUENCES, _RESAMPLES = 40, 1000


@dataclasses.dataclass(frozen=True)
class ScorePredictor:
    """Ridge regression of scores on features and their squares, with its error on held-out sequences.

    Attributes:
        middle, spread: (features,) mean and standard deviation that features are standardised by.
        slopes: (2·features,) of the standardised features and of their squares.
        intercept: the score where all of those are 0.
        penalty: of the slopes' squares, over the number of sequences; the best by leave-one-out.
        r2: share of the scores' variance that is predicted on sequences held out; it cannot exceed the reliability of
            the scores. NaN where scores do not vary.
        r2_interval: its 95% interval, by resampling groups.
        rank_correlation: Spearman's, between scores held out and predicted.
        noise: why nothing is predicted, in words; empty where something is.

    Source: A. E. Hoerl and R. W. Kennard, Technometrics 12, 1970.
    """

    middle: Float[np.ndarray, " features"]
    spread: Float[np.ndarray, " features"]
    slopes: Float[np.ndarray, " terms"]
    intercept: float
    penalty: float
    r2: float
    r2_interval: tuple[float, float]
    rank_correlation: float
    noise: str

    @classmethod
    def from_scores(
        cls,
        features: ArrayLike,
        score: ArrayLike,
        *,
        group: ArrayLike | None = None,
        folds: int = 5,
        seed: int = 0,
    ) -> "ScorePredictor":
        """Fit measured scores, and find by cross-validation how well others are predicted.

        Args:
            features: (sequences, features) such as `TextCounts.features`, and mean losses of a small model at two
                checkpoints beside them.
            score: (sequences,) measured scores.
            group: (sequences,) codes, such as of documents: a group is held out as a whole, since its sequences are
                alike; by default each sequence is its own.
            folds: parts that are held out one after another.
            seed: of the parts, and of the resampling.

        Returns:
            `ScorePredictor`.

        Raises:
            ValueError: shapes that disagree, values that are not finite, fewer than 40 sequences, or fewer groups
                than folds.

        Example:
            >>> rng = np.random.default_rng(0)
            >>> features = rng.normal(size=(400, 3))
            >>> score = features[:, 0] ** 2 + rng.normal(0, 0.5, 400)
            >>> predictor = ScorePredictor.from_scores(features, score)
            >>> predictor.r2 > 0.7, predictor.predict([[2.0, 0, 0]]).round().tolist()
            (True, [4.0])
        """
        x, y = np.asarray(features, np.float64), np.asarray(score, np.float64)
        place = _checked(x, y, group, folds)
        rng = np.random.default_rng(seed)
        fold = (rng.permutation(place.max() + 1) % folds)[place]
        error, plain, predicted = (np.zeros(len(y)) for _ in range(3))
        for k in range(folds):
            held = fold == k
            predicted[held] = _predicted(x[held], *_fitted(x[~held], y[~held])[:4])
            error[held] = (y[held] - predicted[held]) ** 2
            plain[held] = (y[held] - y[~held].mean()) ** 2
        r2, interval, noise = _explained(np.bincount(place, error), np.bincount(place, plain), rng)
        rank = _rank_correlation(y, predicted) if np.ptp(y) > 0 else np.nan
        return cls(*_fitted(x, y), r2, interval, rank, noise)

    def predict(self, features: ArrayLike) -> Float[np.ndarray, " sequences"]:
        """Scores of other sequences.

        Args:
            features: (sequences, features) as those that were fitted.

        Returns:
            (sequences,) scores, for `bucket_of`.

        Raises:
            ValueError: nothing is predicted (`noise`), or other features.
        """
        if self.noise:
            raise ValueError(f"features: they do not predict the scores: {self.noise}; no scores are made from noise")
        x = np.asarray(features, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.middle) or not np.isfinite(x).all():
            raise ValueError(
                f"features: got shape {x.shape}, expected (sequences, {len(self.middle)}) finite numbers, in the "
                "order of those that were fitted"
            )
        return _predicted(x, self.middle, self.spread, self.slopes, self.intercept)


def _checked(x: np.ndarray, y: np.ndarray, group: ArrayLike | None, folds: int) -> np.ndarray:
    """(sequences,) group of each, counted from 0."""
    if x.ndim != 2 or y.shape != x.shape[:1] or not x.shape[1]:
        raise ValueError(f"features: got shape {x.shape} for scores of shape {y.shape}, expected (sequences, features)")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        at = int(np.argmin(np.isfinite(x).all(axis=1) & np.isfinite(y)))
        raise ValueError(f"features, score: of sequence {at} some are not finite; leave such sequences out")
    if len(y) < _LEAST_SEQUENCES:
        raise ValueError(f"score: got {len(y)} sequences, expected {_LEAST_SEQUENCES} or more to tell the error by")
    codes = np.arange(len(y)) if group is None else np.asarray(group)
    if codes.shape != y.shape:
        raise ValueError(f"group: got shape {codes.shape}, expected {y.shape}, one code a sequence")
    place = np.unique(codes, return_inverse=True)[1]
    if not 2 <= folds <= place.max() + 1:
        raise ValueError(f"folds: got {folds} for {place.max() + 1} groups, expected 2 to as many as groups")
    return place


def _terms(x: np.ndarray, middle: np.ndarray, spread: np.ndarray) -> np.ndarray:
    z = np.clip((x - middle) / spread, -5, 5)  # a square of what lies far outside would rule all
    return np.concatenate([z, z**2], axis=1)


def _predicted(x, middle, spread, slopes, intercept) -> np.ndarray:
    return _terms(x, middle, spread) @ slopes + intercept


def _fitted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Middle, spread, slopes, intercept, and the penalty with the smallest error of leaving each sequence out.

    Source: D. M. Allen, Technometrics 16, 1974: a residual over ``1 - leverage`` is that of its sequence left out.
    """
    middle, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-12 * (1 + np.abs(middle)), spread, 1.0)
    terms = _terms(x, middle, spread)
    left, size, right = np.linalg.svd(terms - terms.mean(axis=0), full_matrices=False)
    along, residual, leverage = left.T @ (y - y.mean()), [], []
    for penalty in _PENALTIES * len(y):
        kept = size**2 / (size**2 + penalty)
        residual.append(y - y.mean() - left @ (kept * along))
        leverage.append(1 / len(y) + left**2 @ kept)
    missed = np.mean((np.array(residual) / np.maximum(1 - np.array(leverage), 1e-6)) ** 2, axis=1)
    penalty = float(_PENALTIES[np.argmin(missed)])
    slopes = right.T @ (size / (size**2 + penalty * len(y)) * along)
    return middle, spread, slopes, float(y.mean() - terms.mean(axis=0) @ slopes), penalty


def _explained(error: np.ndarray, plain: np.ndarray, rng) -> tuple[float, tuple[float, float], str]:
    """R² from squared errors of groups, with the model and with the mean alone; its interval; what is wrong with it."""
    if not plain.sum() > 0:
        return np.nan, (np.nan, np.nan), "all scores are equal"
    drawn = rng.integers(0, len(error), (_RESAMPLES, len(error)))
    low, high = np.quantile(1 - error[drawn].sum(axis=1) / plain[drawn].sum(axis=1), [0.025, 0.975])
    r2, interval = float(1 - error.sum() / plain.sum()), (float(low), float(high))
    noise = "" if low > 0 else f"R² on sequences held out is {r2:.2f}, 95% interval {low:.2f} to {high:.2f}"
    return r2, interval, noise


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1]) if np.ptp(other) > 0 else 0.0
