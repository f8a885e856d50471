"""Scores of sequences: how much of them is learned within a window of training, in events or in nat."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ..curves.parts import apart, in_parts, is_wider
from ..fitting import has_parameters, probability_before
from ..jax_switches import with_own_switches
from ..pytrees import pytree

#: Degrees of freedom of an error that is taken for exact.
_MANY = 1e6


@pytree
class SequenceScores:
    """What is known of each sequence.

    Attributes:
        sequence: (sequences,) their numbers, increasing.
        tokens: (sequences,) tokens with a fit.
        events: (sequences,) expected number of them that are learned within the window.
        drop: (sequences,) expected sum of the drops of these events, nat; None where events count alike.
    """

    sequence: Int[np.ndarray, " sequences"]
    tokens: Int[np.ndarray, " sequences"]
    events: Float[np.ndarray, " sequences"]
    drop: Float[np.ndarray, " sequences"] | None = None

    @property
    def score(self) -> Float[np.ndarray, " sequences"]:
        """(sequences,) fraction of the tokens that are learned within the window, or their drop, nat a token.

        0 without tokens.
        """
        return (self.events if self.drop is None else self.drop) / np.maximum(self.tokens, 1)


@with_own_switches
def event_probability(
    params: Mapping[str, ArrayLike],
    stderr: Mapping[str, ArrayLike],
    status: ArrayLike,
    unlearned: ArrayLike,
    window: tuple[float, float],
    *,
    freedom: ArrayLike | None = None,
    scale: str = "log",
) -> Float[Array, " tokens"]:
    """Probability that a token is learned within a window: that it has an event, times that the event lies there.

    ``(1 - unlearned) · (T((u_end - u_learn)/s) - T((u_start - u_learn)/s))``, s the standard error of u_learn and T
    Student's distribution, as `Fit.probabilities` have them: over the measured window this is the probability of
    LEARNED. A token without a standard error counts whole or not at all. One whose loss rises at its event counts not.

    Args:
        params: ``learning_time`` (axis units) and ``loss_drop`` (nat) of each token, (tokens,); for programs that JAX
            traces ``learning_time_low``, too, where the first is not exact in float32 (`Fit.event_low`).
        stderr: ``learning_time`` (axis units), (tokens,), NaN where it is not known. They say what this run would show
            if it were measured again; of other runs `another_run_probability` says more than wider errors could.
        status: (tokens,) of the fits.
        unlearned: (tokens,) probability that there is no event, ``Fit.probabilities["unlearned"]``; NaN where there is
            no fit.
        window: its start (not included) and end, axis units.
        freedom: (tokens,) degrees of freedom of the errors, `tsl_jax.fitting.degrees_of_freedom`; None for many.
        scale: ``"log"`` or ``"linear"``, that of the fits.

    Returns:
        (tokens,) probabilities, 0 where there is no fit.

    Raises:
        ValueError: an empty window, or one that starts below 0 on a log scale.

    Example:
        >>> from tsl_jax import Status
        >>> found = {"learning_time": [100.0, 900.0, 100.0], "loss_drop": [2.0, 2.0, -1.0]}
        >>> known = {"learning_time": [10.0, float("nan"), 10.0]}
        >>> event_probability(found, known, [Status.CONVERGED] * 3, [0.0, 0.25, 0.0], (100, 1000)).round(2).tolist()
        [0.5, 0.75, 0.0]

    Source: the score of arXiv 2606.29858, with the uncertainty of the fits.
    """
    edges = check_window(window, scale)
    low = params.get("learning_time_low")
    parts = in_parts(params["learning_time"], low)
    time = jnp.asarray(params["learning_time"], float)
    error = jnp.asarray(stderr["learning_time"], float)
    event = 1 - jnp.nan_to_num(jnp.asarray(unlearned, float), nan=1.0)
    counts = has_parameters(jnp.asarray(status)) & (jnp.asarray(params["loss_drop"]) > 0)
    if scale == "log":
        time = jnp.where(time > 0, time, 1.0)
        u, spread = jnp.log(time), error / time
    else:
        u, spread = time, error
    many = jnp.full(u.shape, _MANY) if freedom is None else jnp.asarray(freedom, float)
    if low is not None or is_wider(params["learning_time"], params["loss_drop"]):  # u from each edge
        finite = [float(edge) if np.isfinite(there) else 1.0 for edge, there in zip(window, edges, strict=True)]
        from_edges = [apart(scale, parts, in_parts(edge)) for edge in finite]
        places = [there if np.isfinite(edge) else u for edge, there in zip(edges, from_edges, strict=True)]
        edges = tuple(0.0 if np.isfinite(edge) else edge for edge in edges)
    else:
        places = [u, u]
    before = [
        probability_before(edge, place, spread, many) if np.isfinite(edge) else jnp.full(u.shape, float(edge > 0))
        for edge, place in zip(edges, places, strict=True)
    ]
    inside = (edges[0] < places[0]) & (places[1] <= edges[1])
    likely = jnp.where(spread > 0, before[1] - before[0], inside)
    return jnp.where(counts, event * jnp.maximum(likely, 0), 0.0)


def check_window(window: tuple[float, float], scale: str) -> tuple[float, float]:
    """Start and end of a window in the fitted coordinate."""
    start, end = map(float, window)
    if not start < end:
        raise ValueError(f"window: got {start:g} to {end:g}, expected a start below the end")
    if scale == "linear":
        return start, end
    if start < 0:
        raise ValueError(f"window: starts at {start:g}, expected 0 or above on a log scale")
    return float(np.log(start)) if start > 0 else -np.inf, float(np.log(end))


@with_own_switches
def score_sequences(
    probability: ArrayLike, fitted: ArrayLike, sequence: ArrayLike, drop: ArrayLike | None = None
) -> SequenceScores:
    """Sum the probabilities of the tokens of each sequence, in float64, and what they bring where drops are given.

    ``events = Σ p_i`` and ``drop = Σ p_i·loss_drop_i``.

    Args:
        probability: (tokens,) that a token is learned within the window.
        fitted: (tokens,) whether it has a fit.
        sequence: (tokens,) number of its sequence.
        drop: (tokens,) `loss_drop`, nat: scores are by drop. Where the probability is 0, as of losses that rise, any
            value will do. None: events count alike.

    Returns:
        `SequenceScores` of the sequences that occur.

    Example:
        >>> likely, fitted, sequence = [0.5, 1.0, 0.0], [True, True, True], [7, 7, 9]
        >>> score_sequences(likely, fitted, sequence).score.tolist()
        [0.75, 0.0]
        >>> score_sequences(likely, fitted, sequence, [4.0, 1.0, -2.0]).score.tolist()
        [1.5, 0.0]
    """
    number, place = np.unique(np.asarray(sequence), return_inverse=True)
    fitted = np.asarray(fitted, bool)
    likely = np.where(fitted, np.asarray(probability, np.float64), 0)
    tokens, events = (np.bincount(place, one, len(number)) for one in (fitted, likely))
    if drop is not None:
        drop = np.bincount(place, likely * np.where(likely > 0, np.asarray(drop, np.float64), 0), len(number))
    return SequenceScores(number, tokens.astype(np.int64), events, drop)


def merge_scores(parts: Sequence[SequenceScores]) -> SequenceScores:
    """Scores of the parts of a store together; a sequence may lie in several.

    Raises:
        ValueError: scores by drop beside scores by count.

    Example:
        >>> part = score_sequences([1.0, 0.0], [True, True], [3, 4])
        >>> merge_scores([part, part]).tokens.tolist()
        [2, 2]
    """
    number, place = np.unique(np.concatenate([part.sequence for part in parts]), return_inverse=True)
    tokens = np.zeros(len(number), np.int64)
    np.add.at(tokens, place, np.concatenate([part.tokens for part in parts]))
    events = np.bincount(place, np.concatenate([part.events for part in parts]), len(number))
    drops = [part.drop for part in parts if part.drop is not None]
    if drops and len(drops) < len(parts):
        raise ValueError("parts: some scores are by drop, others by count; score all with drop=, or none")
    drop = np.bincount(place, np.concatenate(drops), len(number)) if drops else None
    return SequenceScores(number, tokens, events, drop)
