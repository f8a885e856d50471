"""What a job did, for people and for exit codes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...fitting import Category, Status
from ...store import BadChunk, FitStore
from ...stream.stages import StageSeconds
from .columns import DROP
from .samples import describe_samples


@dataclasses.dataclass(frozen=True)
class FitSummary:
    """The state of a whole fit store after a run, and what that run did.

    Attributes:
        tokens: tokens in the store.
        checkpoints: checkpoints of the losses.
        status_counts: tokens per `Status`, by name, over the whole store.
        category_counts: tokens per `Category`, by name, over the whole store.
        learned_falling: tokens `LEARNED` with a loss that falls.
        learned_rising: and with one that rises; both None for families without `loss_drop`.
        second_events: tokens that have a second event with a probability above a half; None for families without an
            event.
        noise_source: where the noise that all tokens share comes from: ``"estimated"`` from a sample of them,
            ``"given"``; ``"alone"`` and ``"too few curves"``: there is none, each token has its own residuals alone;
            ``"independent"``.
        noise_correlation: between neighbouring checkpoints, the mean of that noise; None where there is none.
        noise_not_estimated: tokens with fewer than 3 points a parameter, too few for an estimate of their own noise, or
            without any residuals; their errors take the shared noise as it is, or independent noise where there is
            none.
        few_effective_points: tokens whose errors have one degree of freedom, the least (`Fit.degrees_of_freedom`):
            noise as correlated as theirs leaves too few of their points to tell how large it is. Of larger stores from
            up to a million tokens spread over them.
        median_effective_points: how many independent points say as much of a token's mean as its correlated ones, the
            median of up to a million tokens spread over the store; None where there are none.
        negative_losses: whether most of those tokens have a negative mean loss, as log-probabilities have, though
            plateaus may not be negative: then hardly a fit means anything.
        noise_seconds: of `wall_seconds`, for estimating the noise.
        bad_chunks: chunks that could not be read; their tokens are `Status.UNREADABLE`.
        left_out_checkpoints: checkpoints that were not used, such as step 0 on a log scale.
        blocks: blocks of the store.
        blocks_run: blocks that this run fitted; the others were finished before.
        tokens_run: tokens that this run fitted.
        wall_seconds: from call to return.
        compile_seconds: of these, for compiling.
        fit_seconds: of these, during which the devices were fitting; with workers, from the first task to the last.
        stages: seconds of every stage, and which one set the rate: ``stages.limit``.
        devices: what fitted, such as ``"4 x cpu"``; with workers, in one of them.
        workers: tasks that ran at a time in the workers of a client; 0: all was fitted here.
        pending: tokens that are not fitted yet, by other parts of the job.
        kernel_name: with which kernel, ``"native"`` or ``"xla"``: see `FitOptions.kernel`.
        repaired: of finished blocks that were found damaged and fitted anew, what was found.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.curves import Sigmoid
        >>> from tsl_jax.jobs import fit_store
        >>> from tsl_jax.store import create_losses
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> losses = np.full((3, 32), 2.5, "float32")
        >>> _ = create_losses(source, losses, checkpoints={"step": np.geomspace(10, 1e4, 32)})
        >>> summary = fit_store(source, target, Sigmoid())
        >>> summary.tokens, summary.status_counts["FLAT"], summary.complete
        (3, 3, True)
        >>> fit_store(source, target, Sigmoid()).tokens_run  # all are fitted already
        0
    """

    tokens: int
    checkpoints: int
    status_counts: Mapping[str, int]
    category_counts: Mapping[str, int]
    learned_falling: int | None
    learned_rising: int | None
    second_events: int | None
    noise_source: str
    noise_correlation: float | None
    noise_not_estimated: int
    few_effective_points: int
    median_effective_points: float | None
    negative_losses: bool
    noise_seconds: float
    bad_chunks: tuple[BadChunk, ...]
    left_out_checkpoints: tuple[int, ...]
    blocks: int
    blocks_run: int
    tokens_run: int
    wall_seconds: float
    compile_seconds: float
    fit_seconds: float
    stages: StageSeconds
    devices: str
    kernel_name: str
    workers: int
    pending: int
    repaired: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every token of the store could be read and was tried."""
        return not self.bad_chunks

    @property
    def fits_per_second(self) -> float:
        """Fits of this run per second of fitting; NaN if there were none."""
        return self.tokens_run / self.fit_seconds if self.tokens_run else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it; a rate that does not exist is None, and so is what limited it."""
        rate, limit = (self.fits_per_second, self.stages.limit) if self.tokens_run else (None, None)
        return dataclasses.asdict(self) | {"complete": self.complete, "fits_per_second": rate, "limited_by": limit}


def describe_tokens(fits: FitStore) -> dict[str, Any]:
    """What `FitSummary` says of all tokens of a fit store, by the names of its fields."""
    return describe_records(fits) | describe_samples(fits)


def describe_records(fits: FitStore) -> dict[str, Any]:
    """Of `describe_tokens`, what the header and the ledger say."""
    ledger = fits.ledger
    statuses, categories = ledger.status_counts(), ledger.category_counts()
    rising = ledger.noted("learned_rising") if fits.event and DROP in fits.parameters else None
    independent = fits.options.get("noise") == "independent"
    return {
        "tokens": fits.num_tokens,
        "pending": fits.num_tokens - sum(statuses.values()),
        "checkpoints": fits.num_checkpoints,
        "status_counts": {status.name: statuses.get(status, 0) for status in Status if status != Status.PENDING},
        "category_counts": {category.name: categories.get(category, 0) for category in Category},
        "learned_falling": None if rising is None else categories.get(Category.LEARNED, 0) - rising,
        "learned_rising": rising,
        "second_events": ledger.noted("second_events") if fits.event else None,
        "noise_source": fits.attributes["noise_source"],
        "noise_correlation": fits.noise["lag_mean"] if fits.noise else None,
        "noise_not_estimated": 0 if independent else ledger.noted("noise_not_estimated"),
    }
