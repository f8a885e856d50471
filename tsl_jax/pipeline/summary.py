"""What a job did, for people and for exit codes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..lm import Category, Status
from ..store import BadChunk, Ledger
from .stages import StageSeconds


@dataclasses.dataclass(frozen=True)
class FitSummary:
    """The state of a whole fit store after a run, and what that run did.

    Attributes:
        tokens: tokens in the store.
        checkpoints: checkpoints of the losses.
        status_counts: tokens per `Status`, by name, over the whole store.
        category_counts: tokens per `Category`, by name, over the whole store.
        bad_chunks: chunks that could not be read; their tokens are `Status.UNREADABLE`.
        left_out_checkpoints: checkpoints that were not used, such as step 0 on a log scale.
        blocks: blocks of the store.
        blocks_run: blocks that this run fitted; the others were finished before.
        tokens_run: tokens that this run fitted.
        wall_seconds: from call to return.
        compile_seconds: of these, for compiling.
        fit_seconds: of these, during which the devices were fitting.
        stages: seconds of every stage, and which one set the rate: ``stages.limit``.
        devices: what fitted, such as ``"4 x cpu"``.
        kernel_name: with which kernel, ``"native"`` or ``"xla"``: see `FitOptions.kernel`.
        repaired: of finished blocks that were found damaged and fitted anew, what was found.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.curves import Sigmoid
        >>> from tsl_jax.pipeline import fit_store
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


def counts_by_name(ledger: Ledger) -> tuple[dict[str, int], dict[str, int]]:
    """Tokens per status and per category of a ledger, by name, zeros included."""
    statuses, categories = ledger.status_counts(), ledger.category_counts()
    return (
        {status.name: statuses.get(status, 0) for status in Status if status != Status.PENDING},
        {category.name: categories.get(category, 0) for category in Category},
    )
