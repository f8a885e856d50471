"""The pass behind scores: what each sequence holds to be learned."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ...curves.parts import in_parts, is_wider
from ...fitting import Status, degrees_of_freedom, has_parameters
from ...reshape import (
    EventDensity,
    SequenceScores,
    another_run_probability,
    event_probability,
    merge_scores,
    score_sequences,
)
from ...spectrum.decomposition import Weighting
from ...store import PROBABILITY_ARRAYS, FitStore, StoreError, decode_probability
from ...stream.parts import Part, sequence_numbers

_UNLEARNED = PROBABILITY_ARRAYS["unlearned"]
_ARRAYS = (
    *("learning_time", "learning_time_stderr", "loss_drop", "r2", "status"),
    *(_UNLEARNED, "noise_correlation", "num_points"),
)


class Widening(Protocol):
    """What makes standard errors hold in other runs, such as the components that comparing runs brings."""

    def widened(self, params: Mapping[str, np.ndarray], stderr: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Errors between runs by name, of the parameters whose standard errors are given."""
        ...


class ScoreSums(NamedTuple):
    """Of the parts of a store: scores of both halves of each sequence, sequences with their domains, events seen."""

    halves: list[SequenceScores]
    domains: list[tuple[np.ndarray, np.ndarray]]
    seen: float


class RunScores(NamedTuple):
    """What one run says of its sequences.

    Attributes:
        whole: scores of the sequences.
        halves: (2, sequences) scores of two halves of the tokens of each, NaN without a token.
        domain: (sequences,) code of the first token of each; zeros where it was not asked for.
        seen: events that are expected within the measured part of the window.
    """

    whole: SequenceScores
    halves: np.ndarray
    domain: np.ndarray
    seen: float


@dataclasses.dataclass(frozen=True)
class ScorePass:
    """The pass over a fit store of sigmoids that scores its sequences.

    Attributes:
        fits: an open fit store.
        window: events after its start and up to its end count, axis units.
        inside: the part of it between the first and the last checkpoint.
        components: how runs differ; None: as those of small transformers do.
        rows: tokens that blocks are padded to.
        density: when tokens are learned: an event counts by the probability that another run has it. None: every event
            counts, by the fits' own errors.
        by_domain: whether domains are read.
        weighting: events count alike, ``"count"``, or by their ``loss_drop``, ``"drop"``.
    """

    fits: FitStore
    window: tuple[float, float]
    inside: tuple[float, float]
    components: Widening | None
    rows: int
    density: EventDensity | None
    by_domain: bool = False
    weighting: Weighting = "count"

    def read(self, part: Part) -> "_Block":
        """What is needed of some tokens."""
        values = {name: self.fits.read_array(self.fits.arrays[name], part.start, part.stop) for name in _ARRAYS}
        domain = self.fits.read_coordinate("domain", part.tokens) if self.by_domain else None
        return _Block(values, sequence_numbers(self.fits, part), _half(part), domain)

    def start(self) -> ScoreSums:
        """Of no tokens."""
        return ScoreSums([], [], 0.0)

    def add(self, sums: ScoreSums, block: "_Block") -> ScoreSums:
        """With more tokens; raises `StoreError` where they are not all fitted yet."""
        values, sequence, half, domain = block
        if np.any(values["status"] == Status.PENDING):
            raise StoreError(
                f"{self.fits.name}: not all tokens are fitted yet; run the fit again to go on, then score it"
            )
        if self.components is not None:
            values |= {"learning_time_stderr": _widened(self.components, values)}
        if self.density is None:
            values |= {_UNLEARNED: np.where(has_parameters(values["status"]), 0, 255).astype(np.uint8)}
        how = self.window, self.inside, self.fits.scale, self.components is not None
        found = _probabilities(*how, self.density, *_padded(values, self.rows))
        likely, within = (np.asarray(one)[: len(sequence)] for one in found)
        drop = values["loss_drop"] if self.weighting == "drop" else None
        sums.halves.append(score_sequences(likely, has_parameters(values["status"]), 2 * sequence + half, drop))
        if domain is not None:
            number, first = np.unique(sequence, return_index=True)
            sums.domains.append((number, domain[first]))
        return sums._replace(seen=sums.seen + float(np.sum(within, dtype=np.float64)))

    def merge(self, one: ScoreSums, other: ScoreSums) -> ScoreSums:
        """Of the tokens of both."""
        return ScoreSums([*one.halves, *other.halves], [*one.domains, *other.domains], one.seen + other.seen)

    def finish(self, sums: ScoreSums) -> RunScores:
        """Scores of all sequences that have a fitted token."""
        halves = merge_scores(sums.halves)
        sequence, half = halves.sequence >> 1, halves.sequence & 1
        whole = merge_scores([dataclasses.replace(halves, sequence=sequence)])
        scores = np.full((2, len(whole.sequence)), np.nan)
        score = np.where(halves.tokens > 0, halves.score, np.nan)
        scores[half, np.searchsorted(whole.sequence, sequence)] = score
        domain = np.zeros(len(whole.sequence), np.int64)
        if sums.domains:
            number, code = (np.concatenate(column) for column in zip(*sums.domains, strict=True))
            domain = code[np.unique(number, return_index=True)[1]].astype(np.int64)
        kept = whole.tokens > 0
        return RunScores(jax.tree.map(lambda values: values[kept], whole), scores[:, kept], domain[kept], sums.seen)


class _Block(NamedTuple):
    """Of some tokens: their fits by name, the numbers of their sequences, the half of it they are in, their domains."""

    values: dict[str, np.ndarray]
    sequence: np.ndarray
    half: np.ndarray
    domain: np.ndarray | None


def _half(part: Part) -> np.ndarray:
    """Which half of its sequence a token is in: Knuth's product cuts consecutive and regular tokens evenly."""
    index = np.arange(part.start, part.stop, dtype=np.uint64)
    return ((index * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(63)).astype(np.int64)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _probabilities(
    window, inside, scale, between_runs, density, params, stderr, r2, status, unlearned, correlation, points
):
    """(tokens,) probabilities of an event within the window, and within its measured part."""
    freedom = degrees_of_freedom(correlation.astype(jnp.float32), points)

    def within(part):
        if not part[0] < part[1]:
            return jnp.zeros(status.shape)
        if density is None:
            return event_probability(params, stderr, status, unlearned, part, freedom=freedom, scale=scale)
        known = {"between_runs": between_runs, "scale": scale}
        return another_run_probability(params, stderr, r2, status, unlearned, part, density, **known)

    return within(window), within(inside)


def _widened(components: Widening, values: dict[str, np.ndarray]) -> np.ndarray:
    """Standard errors of learning times between runs."""
    params = {name: values[name] for name in ("learning_time", "loss_drop")}
    own = values["learning_time_stderr"]
    errors = np.asarray(components.widened(params, {"learning_time": own})["learning_time"], own.dtype)
    if np.any(np.isfinite(own) & ~np.isfinite(errors)):
        raise ValueError(
            "components: they do not know how far apart learning times of runs lie (too few tokens were compared); "
            "compare runs with more tokens, or leave them out"
        )
    return errors


def _padded(values: dict[str, np.ndarray], length: int) -> tuple[Any, ...]:
    """Arguments of `event_probability`, of one length, so that one program does for all blocks."""
    full = {name: np.pad(column, (0, length - len(column)), mode="edge") for name, column in values.items()}
    params = {name: full[name] for name in ("learning_time", "loss_drop")}
    if is_wider(params["learning_time"], params["loss_drop"]):
        params["learning_time"], params["learning_time_low"] = in_parts(params["learning_time"])
    rest = (
        full["r2"],
        full["status"],
        decode_probability(full[_UNLEARNED]),
        full["noise_correlation"],
        full["num_points"],
    )
    return params, {"learning_time": full["learning_time_stderr"]}, *rest
