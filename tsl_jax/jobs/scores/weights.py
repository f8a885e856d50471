"""From a fit store to scores and sampling weights of its sequences, streamed."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from ...reshape import Reliability, bucket_of, bucket_weights, effective_sample_size, reliability_of, shrunken
from ...reshape.reliability import within
from ...spectrum.decomposition import Weighting
from ...store import FitStore, StoreLike, open_fits
from .doubts import noise_of
from .runs import check_stores, joined, scored_run
from .tokens import Widening

NOT_KNOWN = Reliability(np.nan, np.nan, np.nan)


@dataclasses.dataclass(frozen=True)
class SampleWeights:
    """Sampling weights of sequences, and what they come from; a row is a sequence.

    Attributes:
        sequence: (sequences,) number, the store's own where it has a coordinate `sequence`, increasing.
        tokens: (sequences,) tokens with a fit.
        events: (sequences,) expected number of them that are learned within the window, mean over the runs.
        score: (sequences,) their share of the tokens, or the drop that they bring, nat a token (`weighting`); with
            ``shrink`` drawn towards the mean.
        bucket: (sequences,) 0 for the lowest scores.
        weight: (sequences,) how often to draw a sequence, 1 on average.
        domain: (sequences,) codes; None unless weights were made by domain.
        over_tokens: reliability of the scores, from two halves of the tokens of each sequence.
        between_runs: likewise of the mean over the runs, from how scores of runs agree; NaN for one run.
        warnings: what makes the scores doubtful, sentences.
        noise: why the scores are mere noise, so that the weights are not to be used; empty where they are not.
        weighting: of events in the scores: ``"count"``, each alike, or ``"drop"``, each by its ``loss_drop``.
    """

    sequence: np.ndarray
    tokens: np.ndarray
    events: np.ndarray
    score: np.ndarray
    bucket: np.ndarray
    weight: np.ndarray
    domain: np.ndarray | None = None
    over_tokens: Reliability = NOT_KNOWN
    between_runs: Reliability = NOT_KNOWN
    warnings: tuple[str, ...] = ()
    noise: str = ""
    weighting: Weighting = "count"

    @property
    def score_unit(self) -> str:
        """``"nat"`` (a token) by drop; ``"1"``, a fraction of the tokens, by count."""
        return "nat" if self.weighting == "drop" else "1"

    @property
    def effective_sample_size(self) -> float:
        """How many equally weighted sequences vary as little."""
        return float(effective_sample_size(self.weight))

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        named = {name: getattr(self, name) for name in _COLUMNS}
        return named if self.domain is None else named | {"domain": self.domain}


_COLUMNS = ("sequence", "tokens", "events", "score", "bucket", "weight")


def score_store(
    fits: StoreLike | FitStore | Sequence[StoreLike | FitStore],
    window: tuple[float, float],
    *,
    buckets: int = 10,
    strength: float = 0.5,
    ends: int | None = None,
    tested: bool = True,
    weighting: Weighting = "count",
    shrink: bool = False,
    by_domain: bool = False,
    components: Widening | None = None,
    progress: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> SampleWeights:
    """Score the sequences of a fit store by what they hold to be learned in a window, and weigh them.

    Args:
        fits: an open fit store of `tsl_jax.Sigmoid`, or whatever opens as one; its tokens know their `sequence`, or
            their `position`, which stops increasing where a sequence ends. Of several, fits of the same tokens in
            several runs, scores are averaged.
        window: part of training, axis units: events after its start and up to its end count.
        buckets: of equal size, by score.
        strength: from 0 (weights of one) to 1 (the lowest bucket is left out, the highest drawn twice as often).
        ends: how many buckets change at each end; by default weights rise over all buckets.
        tested: an event counts by the probability that it lies within the window in a run of another seed, too
            (`tsl_jax.reshape.another_run_probability`). Otherwise every event counts, however weak, by this run's own
            errors, as in the paper: the better choice for noisy losses at few checkpoints, where a test finds few.
        weighting: every event counts alike (``"count"``, as in the source), or by its ``loss_drop`` (``"drop"``): then
            a score is the mean over the tokens of probability times drop, nat. Events by which a loss rises count
            for nothing in both.
        shrink: draw scores towards their mean by as much as they are noise (`tsl_jax.reshape.shrunken`): by what runs
            differ where there are several, else by what halves of the tokens differ. Ranks change where sequences
            differ in length.
        by_domain: cut each domain into buckets, and weigh it, for itself, so that the mixture of domains stays.
        components: how far learning times of runs lie apart, as comparing runs finds it. By default as far as those of
            small transformers did.
        progress: called after each block with the tokens done and all tokens.
        client: adds up in the workers of a cluster; see `tsl_jax.fit_store`.

    Returns:
        `SampleWeights`; sequences without a fitted token are left out.

    Raises:
        StoreError: no fit store of sigmoids, a store that does not know its sequences (or its domains) or is not
            finished, runs of other sequences, or a window in which no token is learned.
        ChunkError: a chunk is corrupted.
        ValueError: an empty window, an unknown weighting, fewer sequences than buckets, a strength outside 0 to 1, ends
            that meet, scores to shrink whose reliability is not known, or components that do not know learning times or
            are those of another scale.

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

    Source: arXiv 2606.29858; probabilities of `tsl_jax.reshape.another_run_probability`.
    """
    if weighting not in get_args(Weighting):
        raise ValueError(f"weighting: got {weighting!r}, expected 'count' or 'drop'")
    several: Sequence[Any] = fits if isinstance(fits, list | tuple) else [fits]
    stores = [one if isinstance(one, FitStore) else open_fits(one) for one in several]
    check_stores(stores, by_domain=by_domain)
    how = {"components": components, "tested": tested, "weighting": weighting, "by_domain": by_domain}
    runs = [scored_run(store, window, **how, progress=progress, client=client) for store in stores]
    sequences = joined([run.scores for run in runs], [store.name for store in stores])
    domain, score = sequences.domain if by_domain else None, sequences.runs.mean(axis=0)
    over_tokens, between_runs = (reliability_of(within(one, domain)) for one in (sequences.halves, sequences.runs))
    if shrink:
        known = between_runs if len(stores) > 1 else over_tokens
        score = shrunken(score, sequences.tokens, known.value, domain=domain)
    bucket = np.asarray(bucket_of(score, buckets, domain=domain))
    weight = np.asarray(bucket_weights(bucket, buckets, strength=strength, ends=ends, domain=domain))
    doubts = dict.fromkeys(doubt for run in runs for doubt in run.doubts)
    noise = next((doubt.noise for doubt in doubts if doubt.noise), "") or noise_of(within(score, domain), between_runs)
    return SampleWeights(
        *(sequences.sequence, sequences.tokens, sequences.events, score, bucket, weight, domain),
        over_tokens=over_tokens,
        between_runs=between_runs,
        warnings=tuple(doubt.text for doubt in doubts),
        noise=noise,
        weighting=weighting,
    )
