"""Weights that follow a run: made anew from losses of probe sequences as its checkpoints arrive."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from ..curves import Sigmoid
from ..fitting import fit, has_parameters
from ..spectrum import Spectrum, fit_tail
from .buckets import bucket_of, bucket_weights
from .next_window import next_window_probability
from .reliability import Reliability, reliability_of, shrunken
from .scores import SequenceScores, merge_scores, score_sequences

_FAMILY = Sigmoid(scale="log")
_LEAST_CHECKPOINTS = len(_FAMILY.names) + 1
#: With fewer events in the window, of all sequences together, a tenth of their number is chance.
_LEAST_EVENTS = 100
#: A steeper tail is the edge of a clump: of a scaling law ``L = k·a^-α + E`` it is 1 + α.
_STEEPEST = 3.0


@dataclasses.dataclass(frozen=True)
class CurriculumPlan:
    """What the probe sequences teach in the next window.

    Attributes:
        window: from the last checkpoint to its end, axis units.
        sequence: (sequences,) their numbers, increasing.
        tokens: (sequences,) tokens with a fit.
        score: (sequences,) mean probability that a token is learned within the window, drawn towards the mean of all by
            as much as it is noise (`shrunken`); the bare mean where its reliability is not known.
        weight: (sequences,) sampling weights, 1 on average; all 1 where scores are noise.
        reliability: of scores, from halves of the tokens.
        exponent: of the spectrum's tail; NaN where too few events show one, or where it is above 3: no scaling law.
        noise: why scores are mere noise, in words; empty where they are not.
    """

    window: tuple[float, float]
    sequence: Int[np.ndarray, " sequences"]
    tokens: Int[np.ndarray, " sequences"]
    score: Float[np.ndarray, " sequences"]
    weight: Float[np.ndarray, " sequences"]
    reliability: Reliability
    exponent: float
    noise: str


class Curriculum:
    """Scores of probe sequences for the next window of a run, and weights by them, as the run's losses arrive.

    `observe` takes the losses of a checkpoint; `plan` fits what is there (`tsl_jax.fit`, on a log scale), finds how
    likely each token is learned in the next window (`next_window_probability`), and makes weights as `tsl score` does:
    they go to `Sampler.reweight`. What `plan` says depends on the losses alone, so that a run that was stopped and
    goes on gets the same weights.

    Args:
        sequence: (tokens,) whole numbers: the sequence of each probe token.
        last_step: at which the run ends; None if it is not known. Windows end there at the latest.
        buckets: of sequences, as many or fewer than there are.
        ends: how many buckets change at each end; None for weights on a straight line.
        strength: of the change; see `bucket_weights`.
        by_test: an event counts by the probability that a test gives it; by default every event counts, however weak,
            since a test finds few events at the few checkpoints of a young run.

    Raises:
        ValueError: no whole numbers, or fewer sequences than buckets.

    Example:
        >>> import numpy as np
        >>> sequence = np.repeat(np.arange(20), 40)  # of 20 sequences the last 4 are learned around step 150
        >>> centre = np.where(sequence < 16, 20.0, 150.0)[:, None] * np.geomspace(0.8, 1.25, 800)[:, None]
        >>> curriculum = Curriculum(sequence, last_step=1000)
        >>> for step in np.geomspace(2, 100, 12):
        ...     curriculum.observe(step, (1 + 4 / (1 + (step / centre) ** 3))[:, 0])
        >>> plan = curriculum.plan(factor=2)
        >>> plan.weight[-4:].tolist(), plan.noise
        ([1.5, 1.5, 1.5, 1.5], '')

    Source: the scores and weights of arXiv 2606.29858, made while training runs.
    """

    def __init__(
        self,
        sequence: ArrayLike,
        *,
        last_step: float | None = None,
        buckets: int = 10,
        ends: int | None = 2,
        strength: float = 0.5,
        by_test: bool = False,
    ) -> None:
        self.sequence = np.asarray(sequence)
        if self.sequence.ndim != 1 or self.sequence.dtype.kind not in "iu":
            raise ValueError(
                f"sequence: got {self.sequence.dtype} of shape {self.sequence.shape}, expected (tokens,) whole numbers"
            )
        number = len(np.unique(self.sequence))
        if number < buckets:
            raise ValueError(
                f"sequence: got {number} probe sequences for {buckets} buckets, expected one a bucket at least; give "
                "more sequences, or ask for fewer buckets"
            )
        self._change = {"buckets": buckets, "strength": strength, "ends": ends}
        bucket_weights(np.arange(buckets), **self._change)  # says what is wrong with them before a run is on its way
        self.last_step, self.by_test = last_step, by_test
        self._steps: list[float] = []
        self._losses: list[np.ndarray] = []

    def observe(self, step: float, losses: ArrayLike) -> None:
        """Take the losses of one more checkpoint.

        Args:
            step: of the checkpoint (or any other axis), above 0 and above those before it.
            losses: (tokens,) of the probe tokens, nat; NaN where one was not measured.

        Raises:
            ValueError: steps that do not increase or lie after the run's end, another number of losses, or losses
                without a finite one; what was taken before is kept.
        """
        step, losses = float(step), np.array(losses, np.float32)
        before = self._steps[-1] if self._steps else 0.0
        if not before < step < np.inf:
            raise ValueError(f"step: got {step:g} after {before:g}, expected increasing steps above 0")
        if self.last_step is not None and step > self.last_step:
            raise ValueError(f"step: got {step:g}, after the end of the run at {self.last_step:g}")
        if losses.shape != self.sequence.shape:
            raise ValueError(f"losses: got shape {losses.shape}, expected {self.sequence.shape}, one a probe token")
        if not np.isfinite(losses).any():
            raise ValueError(f"losses: none of step {step:g} is finite; leave out a checkpoint that was not measured")
        self._steps.append(step)
        self._losses.append(losses)

    def plan(self, *, factor: float | None = None, steps: float | None = None) -> CurriculumPlan:
        """Scores and weights for the next window, from the last checkpoint on.

        Args:
            factor: end of the window over its start; or
            steps: its length. One of the two.

        Returns:
            `CurriculumPlan`; its weights are all 1, and it says why, where scores are mere noise: too few checkpoints
            for a fit, fewer than 100 events in all, equal scores, or halves of the tokens that agree by chance.

        Raises:
            ValueError: no checkpoint yet, the run is at its end, or a window that is empty or not told.
        """
        now, end = window = self._window(factor, steps)
        if len(self._steps) < _LEAST_CHECKPOINTS:
            number, nothing = len(np.unique(self.sequence)), Reliability(np.nan, np.nan, np.nan)
            reason = f"{len(self._steps)} checkpoints are too few for a fit, which takes {_LEAST_CHECKPOINTS}"
            scores = SequenceScores(np.unique(self.sequence), np.zeros(number, int), np.zeros(number))
            return self._planned(window, scores, nothing, np.nan, reason)
        steps_so_far: Any = np.array(self._steps)
        losses: Any = np.stack(self._losses, axis=1)
        found = fit(_FAMILY, steps_so_far, losses)
        spectrum = Spectrum.from_fits(found, steps_so_far, self.sequence)
        exponent = float(fit_tail(spectrum, least_events=_LEAST_EVENTS).exponent)
        exponent = exponent if exponent <= _STEEPEST else np.nan
        likely = next_window_probability(found, now, end, exponent=exponent, by_test=self.by_test)
        fitted = np.asarray(has_parameters(found.status))
        halves = [
            score_sequences(np.where(mine, likely, 0), fitted & mine, self.sequence)
            for mine in (alternate(self.sequence) == half for half in (0, 1))
        ]
        scores = merge_scores(halves)
        reliability = reliability_of(np.array([np.where(half.tokens > 0, half.score, np.nan) for half in halves]))
        return self._planned(window, scores, reliability, exponent, _noise(scores, reliability))

    def _window(self, factor: float | None, steps: float | None) -> tuple[float, float]:
        if not self._steps:
            raise ValueError("plan: no checkpoint was observed yet, so there is no window to plan; observe one first")
        now = self._steps[-1]
        if (factor is None) == (steps is None):
            raise ValueError(f"factor, steps: got {factor} and {steps}, expected one of them")
        end = now * factor if factor is not None else now + (steps or 0)
        if not now < end < np.inf:
            raise ValueError(f"window: got {now:g} to {end:g}, expected a factor above 1, or steps above 0")
        if self.last_step is not None:
            if now >= self.last_step:
                raise ValueError(f"window: starts at {now:g}, where the run ends; there is nothing left to plan")
            end = min(end, self.last_step)
        return now, end

    def _planned(self, window, scores: SequenceScores, reliability, exponent: float, noise: str) -> CurriculumPlan:
        score, weight = scores.score, np.ones(len(scores.sequence))
        if np.isfinite(reliability.value):
            score = shrunken(score, scores.tokens, reliability.value)
        if not noise:
            bucket = bucket_of(score, self._change["buckets"])
            weight = np.asarray(bucket_weights(bucket, **self._change), np.float64)
        return CurriculumPlan(window, scores.sequence, scores.tokens, score, weight, reliability, exponent, noise)

    def state_dict(self) -> dict[str, Any]:
        """All that was observed: ``sequence`` (tokens,), ``steps`` (checkpoints,), ``losses`` (tokens, checkpoints)."""
        losses = np.stack(self._losses, axis=1) if self._losses else np.empty((len(self.sequence), 0), np.float32)
        return {"sequence": self.sequence.copy(), "steps": np.array(self._steps), "losses": losses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another curriculum of the same probe tokens stood.

        Args:
            state: of `state_dict`.

        Raises:
            ValueError: the state of other probe tokens, or of another object; what was observed here is kept.
        """
        if state.keys() != {"sequence", "steps", "losses"}:
            raise ValueError(f"state: got {sorted(state)}, expected what Curriculum.state_dict returns")
        if not np.array_equal(state["sequence"], self.sequence):
            raise ValueError("state: its probe tokens are not those of this curriculum; make it with their sequences")
        before = self._steps, self._losses
        self._steps, self._losses = [], []
        try:
            for step, losses in zip(state["steps"], np.asarray(state["losses"]).T, strict=True):
                self.observe(step, losses)
        except ValueError:
            self._steps, self._losses = before
            raise


def alternate(sequence: ArrayLike) -> Int[np.ndarray, " tokens"]:
    """(tokens,) 0 or 1: every other token of each sequence."""
    sequence = np.asarray(sequence)
    order = np.argsort(sequence, kind="stable")
    ranked = sequence[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    within = np.arange(len(ranked)) - np.repeat(first, np.diff(np.r_[first, len(ranked)]))
    half = np.empty(len(sequence), np.int64)
    half[order] = within % 2
    return half


def _noise(scores: SequenceScores, reliability: Reliability) -> str:
    """Why scores are mere noise; empty where they are not."""
    if np.ptp(scores.score) == 0:
        return f"all {len(scores.score)} sequences have the same score"
    events = float(scores.events.sum())
    if events < _LEAST_EVENTS:
        return f"the window holds hardly any events: {events:.3g} in all; take a wider one, or more probe tokens"
    if not reliability.low > 0:
        return (
            f"scores of halves of the tokens agree no better than chance (reliability {reliability.value:.2f}, 95% "
            f"interval {reliability.low:.2f} to {reliability.high:.2f}); take a wider window, or longer sequences"
        )
    return ""
