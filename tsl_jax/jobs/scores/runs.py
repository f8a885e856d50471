"""Scores of the sequences of one run, and of the same sequences in several."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...curves import Sigmoid
from ...reshape import check_window
from ...runs import RunComponents
from ...spectrum.decomposition import Weighting
from ...store import FitStore, StoreError
from ...stream.parts import sequence_parts, sequence_source
from ...stream.passes import run_pass
from ..comparing.runs import comparison_coordinates
from .density import event_density
from .doubts import EVERY_EVENT, Doubt, doubts_of
from .tokens import RunScores, ScorePass, Widening

_BLOCK_TOKENS = 2**20

#: Why a store cannot be scored.
NO_SEQUENCES = (
    "its tokens have neither 'sequence' nor 'position', so nothing says which of them form a sequence; write one with "
    "create_losses(..., tokens={'sequence': ...}) and fit again"
)


class ScoredRun(NamedTuple):
    """Scores of a run, and what makes them doubtful."""

    scores: RunScores
    doubts: tuple[Doubt, ...]


@dataclasses.dataclass(frozen=True)
class SharedSequences:
    """Sequences that all runs have scores of.

    Attributes:
        sequence: (sequences,) numbers, increasing.
        tokens: (sequences,) tokens with a fit, of the run that has fewest.
        events: (sequences,) expected within the window, mean over the runs.
        runs: (runs, sequences) scores in each.
        halves: (2, sequences) scores of halves of the tokens, mean over the runs.
        domain: (sequences,) codes.
    """

    sequence: np.ndarray
    tokens: np.ndarray
    events: np.ndarray
    runs: np.ndarray
    halves: np.ndarray
    domain: np.ndarray


def check_stores(stores: Sequence[FitStore], *, by_domain: bool) -> None:
    """Whether stores can be scored together; raises `StoreError`."""
    if not stores:
        raise StoreError("fits: got no fit store, expected at least one")
    for fits in stores:
        if fits.family != Sigmoid.name:
            raise StoreError(f"{fits.name}: family {fits.family!r} has no event to score by; expected {Sigmoid.name!r}")
        if sequence_source(fits) == "token":
            raise StoreError(f"{fits.name}: {NO_SEQUENCES}")
        if fits.num_tokens == 0:
            raise StoreError(
                f"{fits.name}: it has no tokens, so there is nothing to score; fit a loss store that has some"
            )
        if by_domain and "domain" not in fits.token_coordinates:
            raise StoreError(
                f"{fits.name}: its tokens have no 'domain', so nothing says what to weigh apart; write one with "
                "create_losses(..., tokens={'domain': ...}) and fit again, or score without domains"
            )
    first = stores[0]
    for fits in stores[1:]:
        for what in ("axis_name", "scale", "num_tokens"):
            mine, other = getattr(first, what), getattr(fits, what)
            if mine != other:
                raise StoreError(
                    f"{fits.name}: its {what} is {other!r} where {first.name} has {mine!r}; scores are averaged over "
                    "fits of the same tokens on the same axis"
                )


def scored_run(
    fits: FitStore,
    window: tuple[float, float],
    *,
    components: Widening | None,
    tested: bool,
    weighting: Weighting,
    by_domain: bool,
    progress: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> ScoredRun:
    """Score the sequences of one fit store; arguments and errors as those of `score_store`."""
    used = np.delete(fits.axis(), list(fits.left_out_checkpoints))
    measured = float(used[0]), float(used[-1])
    inside = max(window[0], measured[0]), min(window[1], measured[1])
    check_window(window, fits.scale)
    if isinstance(components, RunComponents):
        components.check(*comparison_coordinates(fits))
    bounds, rows = (float(window[0]), float(window[1])), min(_BLOCK_TOKENS, fits.num_tokens)
    density = event_density(fits) if tested else None
    job = ScorePass(fits, bounds, inside, components, rows, density, by_domain, weighting)
    found = run_pass(job, sequence_parts(fits, _BLOCK_TOKENS), progress=progress, client=client)
    events = found.whole.events
    if not events.sum() > 0:
        raise StoreError(
            f"window: no token of {fits.name} is learned between {window[0]:g} and {window[1]:g}; its "
            f"{fits.axis_name} runs from {measured[0]:g} to {measured[1]:g} (tsl spectrum shows when tokens are "
            f"learned){f'; or {EVERY_EVENT}' if tested else ''}"
        )
    return ScoredRun(found, doubts_of(window, measured, fits.axis_name, events, found.seen, tested=tested))


def joined(runs: Sequence[RunScores], names: Sequence[str]) -> SharedSequences:
    """The sequences that all runs have scores of; raises `StoreError` where there is none."""
    sequence = functools.reduce(np.intersect1d, [run.whole.sequence for run in runs])
    if not len(sequence):
        raise StoreError(
            f"{', '.join(names)}: they have no sequence in common; scores are averaged over fits of the same tokens"
        )
    at = [np.searchsorted(run.whole.sequence, sequence) for run in runs]
    pairs = list(zip(runs, at, strict=True))
    return SharedSequences(
        sequence,
        np.min([run.whole.tokens[place] for run, place in pairs], axis=0),
        np.mean([run.whole.events[place] for run, place in pairs], axis=0),
        np.array([run.whole.score[place] for run, place in pairs]),
        np.mean([run.halves[:, place] for run, place in pairs], axis=0),
        runs[0].domain[at[0]],
    )
