"""Scores of a few candidates carried to all, by what their text is like: once, or anew while a run trains."""

import numpy as np

from .scores import BUCKETS, ENDS, Experiment, lifted

#: Rows of the reference text that features are counted on, and candidates whose features are made at once.
_COUNTED, _AT_ONCE = 2**11, 2**13


def text_features(experiment: Experiment) -> np.ndarray:
    """(candidates, features) of `tsl_jax.reshape.TextCounts`, which no model has to read them for."""
    from tsl_jax.reshape import TextCounts

    def flat(rows):
        return rows.ravel().astype(np.int64), np.repeat(np.arange(len(rows)), rows.shape[1])

    counts, text = TextCounts.of_text(*flat(experiment.rows["reference"][:_COUNTED])), experiment.rows["candidates"]
    return np.concatenate([counts.features(*flat(text[at : at + _AT_ONCE])) for at in range(0, len(text), _AT_ONCE)])


def carried(features: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, dict]:
    """Weights of all candidates from scores of the first ones, and their R²; all 1 where it may be 0.

    Args:
        features: (candidates, features) of `text_features`.
        score: (probes,) of the first candidates; rows are shuffled, so that these are any.
    """
    from tsl_jax.reshape import ScorePredictor

    predictor = ScorePredictor.from_scores(features[: len(score)], score)
    said = {
        "r2": predictor.r2,
        "r2_interval": list(predictor.r2_interval),
        "rank_correlation": predictor.rank_correlation,
        "noise": predictor.noise,
    }
    if predictor.noise:
        return np.ones(len(features)), said
    return lifted(predictor.predict(features), 1.0), said


class Follower:
    """A curriculum that follows one run: it measures probes as the run trains, and carries their scores to all.

    Args:
        experiment: `Experiment`.
        features: (candidates, features) of `text_features`.
    """

    def __init__(self, experiment: Experiment, features: np.ndarray) -> None:
        import jax.numpy as jnp

        from tsl_jax.reshape import Curriculum

        preset = experiment.preset
        rows = experiment.rows["candidates"][: preset["probes"]]
        probe = np.repeat(np.arange(len(rows)), preset["context"])
        self._curriculum = Curriculum(probe, last_step=preset["window"][1], buckets=BUCKETS, ends=ENDS)
        self._rows, self._features, self._steps = jnp.asarray(rows), features, preset["plan"]
        self._size, self._mean, self._plans = experiment.training.size, {}, []

    def observe(self, step: int, params) -> None:
        """Measure the probes."""
        from .runs import token_losses

        losses = np.asarray(token_losses(params, self._rows, self._size))
        self._mean[step] = losses.mean(axis=1)
        self._curriculum.observe(step, losses.ravel())

    def weights(self) -> np.ndarray:
        """(candidates,) for the next window."""
        plan = self._curriculum.plan(steps=self._steps)
        found, said = np.ones(len(self._features)), {"noise": plan.noise}
        if not plan.noise:
            found, said = carried(self._features, plan.score)
        self._plans.append(
            {
                "score": plan.score,
                "window": list(plan.window),
                "reliability": [*map(_number, plan.reliability)],
                "exponent": _number(plan.exponent),
                **said,
            }
        )
        return found

    def plans(self) -> list[dict]:
        """What each plan was worth, and how its scores, and falls of losses before it, go with the falls that came."""
        said = []
        for plan in self._plans:
            start, end = plan["window"]
            earlier = max(step for step in self._mean if step <= max(2 * start - end, min(self._mean)))
            before, after = (self._mean[a] - self._mean[b] for a, b in ((earlier, start), (start, end)))
            guesses = {"score": plan["score"], "fall": before}
            foreseen = {f"foreseen_by_{name}": _correlation(guess, after) for name, guess in guesses.items()}
            said.append({name: value for name, value in plan.items() if name != "score"} | foreseen)
        return said


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    return float(np.corrcoef(one, other)[0, 1]) if np.ptp(one) > 0 and np.ptp(other) > 0 else None


def _number(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None
