"""From a fit store to scores and sampling weights of its sequences, streamed."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ...curves import Sigmoid
from ...reshape import (
    bucket_of,
    bucket_weights,
    check_window,
    effective_sample_size,
)
from ...runs import RunComponents
from ...store import FitStore, StoreError, StoreLike, open_fits
from ...stream.parts import sequence_parts, sequence_source
from ...stream.passes import run_pass
from ..compare.runs import comparison_coordinates
from .doubts import doubts_of
from .tokens import ScorePass, Widening

_BLOCK_TOKENS = 2**20


@dataclasses.dataclass(frozen=True)
class SampleWeights:
    """Sampling weights of sequences, and what they come from; a row is a sequence.

    Attributes:
        sequence: (sequences,) number, the store's own where it has a coordinate `sequence`, increasing.
        tokens: (sequences,) tokens with a fit.
        events: (sequences,) expected number of them that are learned within the window.
        score: (sequences,) their share.
        bucket: (sequences,) 0 for the lowest scores.
        weight: (sequences,) how often to draw a sequence, 1 on average.
        warnings: what makes the scores doubtful, sentences.
    """

    sequence: np.ndarray
    tokens: np.ndarray
    events: np.ndarray
    score: np.ndarray
    bucket: np.ndarray
    weight: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def effective_sample_size(self) -> float:
        """How many equally weighted sequences vary as little."""
        return float(effective_sample_size(self.weight))

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "warnings"]
        return {name: getattr(self, name) for name in names}


def score_store(
    fits: StoreLike | FitStore,
    window: tuple[float, float],
    *,
    buckets: int = 10,
    strength: float = 0.5,
    components: Widening | None = None,
    progress: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> SampleWeights:
    """Score the sequences of a fit store by what they hold to be learned in a window, and weigh them.

    Args:
        fits: an open fit store of `tsl_jax.Sigmoid`, or whatever opens as one; its tokens know their `sequence`, or
            their `position`, which stops increasing where a sequence ends.
        window: part of training, axis units: events after its start and up to its end count.
        buckets: of equal size, by score.
        strength: from 0 (weights of one) to 1 (the lowest bucket is left out, the highest drawn twice as often).
        components: how runs differ, as comparing runs finds it: events count by how likely they are within the window
            in another run. By default by the fits' own errors, which say what the same run would show if it were
            measured again.
        progress: called after each block with the tokens done and all tokens.
        client: adds up in the workers of a cluster; see `tsl_jax.fit_store`.

    Returns:
        `SampleWeights`; sequences without a fitted token are left out.

    Raises:
        StoreError: no fit store of sigmoids, a store that does not know its sequences or is not finished, or a window
            in which no token is learned.
        ChunkError: a chunk is corrupted.
        ValueError: an empty window, fewer sequences than buckets, a strength outside 0 to 1, or components that do not
            know learning times or are those of another scale.

    Example:
        >>> import numpy as np, zarr, tsl_jax as tsl
        >>> step = np.geomspace(10, 1e4, 32)
        >>> losses = 1 + 5 / (1 + (step / np.array([[100.0], [110.0], [5000.0], [120.0]])) ** 3)
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> known = {"checkpoints": {"step": step}, "tokens": {"sequence": [0, 0, 1, 1]}}
        >>> _ = tsl.create_losses(source, losses.astype("f4"), **known)
        >>> _ = tsl.fit_store(source, target, tsl.Sigmoid())
        >>> found = tsl.score_store(target, (50, 500), buckets=2)
        >>> found.score.round(3).tolist(), found.weight.tolist()
        ([1.0, 0.5], [1.5, 0.5])

    Source: arXiv 2606.29858; probabilities as `tsl_jax.reshape.event_probability` has them.
    """
    fits = fits if isinstance(fits, FitStore) else open_fits(fits)
    _check(fits)

    used = np.delete(fits.axis(), list(fits.left_out_checkpoints))
    measured = float(used[0]), float(used[-1])
    inside = max(window[0], measured[0]), min(window[1], measured[1])
    check_window(window, fits.scale)
    if isinstance(components, RunComponents):
        components.check(*comparison_coordinates(fits))
    job = ScorePass(fits, (float(window[0]), float(window[1])), inside, components, min(_BLOCK_TOKENS, fits.num_tokens))
    scores, seen = run_pass(job, sequence_parts(fits, _BLOCK_TOKENS), progress=progress, client=client)
    kept = scores.tokens > 0
    if not scores.events.sum() > 0:
        raise StoreError(
            f"window: no token of {fits.name} is learned between {window[0]:g} and {window[1]:g}; its "
            f"{fits.axis_name} runs from {measured[0]:g} to {measured[1]:g} (tsl spectrum shows when tokens are "
            "learned)"
        )
    score = scores.score[kept]
    bucket = np.asarray(bucket_of(score, buckets))
    weight = np.asarray(bucket_weights(bucket, buckets, strength=strength))
    events = scores.events[kept]
    warnings = doubts_of(window, measured, fits.axis_name, events, seen)
    return SampleWeights(scores.sequence[kept], scores.tokens[kept], events, score, bucket, weight, warnings)


#: Why a store cannot be scored.
NO_SEQUENCES = (
    "its tokens have neither 'sequence' nor 'position', so nothing says which of them form a sequence; write one with "
    "create_losses(..., tokens={'sequence': ...}) and fit again"
)


def _check(fits: FitStore) -> None:
    if fits.family != Sigmoid.name:
        raise StoreError(f"{fits.name}: family {fits.family!r} has no event to score by; expected {Sigmoid.name!r}")
    if sequence_source(fits) == "token":
        raise StoreError(f"{fits.name}: {NO_SEQUENCES}")
    if fits.num_tokens == 0:
        raise StoreError(f"{fits.name}: it has no tokens, so there is nothing to score; fit a loss store that has some")
