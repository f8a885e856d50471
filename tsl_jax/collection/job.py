"""The whole job: checkpoints and batches to a loss store, resumable."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..store import ChangedError, Location, LossStore, StoreError, StoreLike, locate, open_losses, writer_lock
from ..store.fingerprint import differences
from ..store.own_files import remove_partial_files
from ..store.unfinished import checked_dtype
from ..stream.workers import Workers, workers_of
from .batches import Batches, BatchReader, Tokens
from .checkpoints import Checkpoint, in_order
from .collection import Collection
from .column import Column, Count, measured_here
from .elsewhere import measured_by_workers
from .jax_losses import Evaluator, JaxEvaluator, Measured
from .opening import Given, open_collection
from .output import PLACE, clear, is_finished, mark, remove

LOGITS = ("logit_mean", "logit_spread")


@dataclasses.dataclass(frozen=True)
class CheckpointReport:
    """One checkpoint that is done.

    Attributes:
        step: its step.
        tokens: tokens with a loss.
        mean_loss: nat, over the finite losses.
        seconds: computing and writing it, loading apart; 0 for one that an earlier run collected.
        resumed: whether an earlier run collected it.
    """

    step: float
    tokens: int
    mean_loss: float
    seconds: float
    resumed: bool


Report = Callable[[CheckpointReport], None]


def collect(
    loss_fn: Callable[[Any, Any], Any],
    checkpoints: Iterable[Any],
    batches: Batches,
    out: StoreLike,
    *,
    coordinates: Callable[[float], Mapping[str, float]] | None = None,
    logits: bool = False,
    dtype: Any = np.float16,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Report | None = None,
    client: Any = None,
) -> LossStore:
    """Measure every token's loss at every checkpoint of a model, and write a loss store.

    A checkpoint at a time is appended on disk, one column a chunk; when the checkpoints end, the columns are rewritten
    as whole trajectories. Kill it at any moment and run it again: checkpoints that are done are not computed again,
    and none that is half-written counts. Memory holds one checkpoint's parameters and a few batches.

    Args:
        loss_fn: ``loss_fn(params, batch)`` returns losses (sequences, positions) in nat; it is jitted here. With
            ``logits`` it returns ``(losses, logits)``, logits (sequences, positions, vocabulary).
        checkpoints: ``(step, params)`` in order of steps, from a list, a generator that trains, or
            `orbax_checkpoints`; a `Checkpoint` loads its parameters only when they are needed.
        batches: the validation data, the same for every checkpoint: a list of mappings of arrays, or a function that
            returns them anew. Of each batch `token_id` (sequences, positions) are the tokens whose losses are measured;
            `mask`, True where a token counts, leaves out padding; `domain`, `sequence`, `position`,
            `token_frequency`, one value a token or one a sequence, are recorded; sequences and positions are counted
            from 0 where they are not given. Other arrays are for ``loss_fn`` alone. Batches of one shape compile once.
        out: where the loss store goes: a path, a URL or a Zarr store.
        coordinates: from a step to other coordinates of its checkpoint, such as
            ``lambda step: {"tokens_seen": 4096 * step}``.
        logits: whether to record `logit_mean` and `logit_spread` a checkpoint: the mean of the logits, and the root of
            their variance over the vocabulary, both over all tokens.
        dtype: float16, float32 or float64, of the losses.
        attributes: group attributes, such as the names of the domains.
        overwrite: delete losses that are there and begin anew.
        progress: called with a `CheckpointReport` after each checkpoint.
        client: measure in the workers of a cluster, some batches each; see `tsl_jax.fit_store`. ``loss_fn`` and
            checkpoints must be such that they can be sent. Parameters that are in memory are sent with every task; of a
            large model give each `Checkpoint` a function that loads them where workers are.

    Returns:
        The open loss store.

    Raises:
        StoreError: ``loss_fn`` returns another shape, checkpoints are out of order or come twice, a batch is not as it
            should be, or something else is at the output. Its subclasses: `ChangedError` (other batches or options than
            those of the losses that are there), `LockedError`, `WriteError`. What was collected is kept.
        TypeError: an argument is of another kind.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np, zarr
        >>> def loss_fn(params, batch):
        ...     logits = params["table"][batch["token_before"]]
        ...     return -jnp.take_along_axis(jax.nn.log_softmax(logits), batch["token_id"][..., None], -1)[..., 0]
        >>> text = np.array([[0, 1, 2, 1, 0]])
        >>> batches = [{"token_before": text[:, :-1], "token_id": text[:, 1:]}]
        >>> checkpoints = [(step, {"table": step * jnp.eye(3)}) for step in (0, 1, 2)]
        >>> store = collect(loss_fn, checkpoints, batches, zarr.storage.MemoryStore(), dtype="float32")
        >>> store.read().astype(float).round(2)[0].tolist(), store.read_coordinate("token_id").tolist()
        ([1.1, 1.55, 2.24], [1, 2, 1, 0])

    Source: the logits' spread, which should grow as the cube root of dynamic time: arXiv 2602.03685; see
    `tsl_jax.temporal.growth_exponent`.
    """
    evaluator = JaxEvaluator(loss_fn, checked_dtype(dtype), logits)
    options: dict[str, Any] = {"coordinates": coordinates, "attributes": attributes, "progress": progress}
    options["client"] = client
    return run(evaluator, checkpoints, batches, out, logits=logits, dtype=dtype, overwrite=overwrite, **options)


def run(
    evaluator: Evaluator,
    checkpoints: Iterable[Any],
    batches: Batches,
    out: StoreLike,
    *,
    coordinates: Callable[[float], Mapping[str, float]] | None,
    logits: bool,
    dtype: Any,
    attributes: Mapping[str, Any] | None,
    overwrite: bool,
    progress: Report | None,
    identity: Mapping[str, Any] | None = None,
    advance: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> LossStore:
    """`collect` with any way to compute losses; a resumed run must have the same ``identity``.

    ``advance`` is called with the tokens of all checkpoints that are done, and how many there are.
    """
    location = locate(out, writable=True)
    is_finished(location)  # refuses what is foreign before anything is computed
    reader, workers = BatchReader(batches), workers_of(client)
    summary = reader.summary()
    with writer_lock(Location(location.store, location.key(PLACE), location.name)):
        remove_partial_files(location)
        if overwrite:
            clear(location)
        mark(location)
        store = open_losses(location.open_group()) if is_finished(location) else None
        given = Given(reader, summary, checked_dtype(dtype), dict(identity or {}))
        count = Count(advance, summary.tokens * len(checkpoints)) if isinstance(checkpoints, Sequence) else Count()
        job = _Job(evaluator, given, location, store, logits, coordinates, progress, count, workers)
        for checkpoint in in_order(checkpoints):
            job.add(checkpoint)
        return job.finish(attributes or {})


class _Job:
    """One run over the checkpoints."""

    def __init__(self, evaluator, given, location, store, logits, coordinates, progress, count, workers) -> None:
        self._evaluator, self._location, self._logits = evaluator, location, logits
        self._coordinates, self._progress = coordinates, progress
        self._given: Given = given
        self._count: Count = count
        self._workers: Workers | None = workers
        self._collection: Collection | None = None
        self._store: LossStore | None = store
        self._told = {"batches": len(given.summary.digests), "tokens": given.summary.tokens}
        self._told |= {"digest": given.summary.digest, **given.identity}
        if store is not None:
            before: Any = store.attributes.get("collected", {"batches": "not written by collect"})
            changes = differences(before, self._told, "batches: ")
            if changes:
                raise ChangedError(location.name, changes, "losses")

    def add(self, checkpoint: Checkpoint) -> None:
        """Collect one checkpoint, if that is not done."""
        values = {"step": float(checkpoint.step)}
        done, means = self._done()
        if values["step"] in done:
            self._count.add(self._given.summary.tokens)
            return self._tell(checkpoint, means[done.index(values["step"])])
        if done and values["step"] < done[-1]:
            raise StoreError(
                f"checkpoints: got {checkpoint} now, expected steps after {done[-1]:g}, which is collected already. "
                "What was collected is kept. For a step before it write to another output or pass overwrite=True."
            )
        if self._coordinates is not None:
            values |= {name: float(value) for name, value in self._coordinates(checkpoint.step).items()}
        if self._collection is None:
            entries = (*values, *(LOGITS if self._logits else ()), "mean_loss")
            self._collection = open_collection(self._location, self._given, entries, self._store)
            return self.add(checkpoint)  # which may be done
        measured = self._measured(checkpoint)
        begun, column = time.perf_counter(), Column(measured, self._count.add)
        self._collection.append(column, lambda: values | column.summary())
        return self._tell(checkpoint, column.summary()["mean_loss"], time.perf_counter() - begun)

    def finish(self, attributes: Mapping[str, Any]) -> LossStore:
        """Rewrite as whole trajectories."""
        if self._collection is None and self._store is None:
            raise StoreError("checkpoints: there was none, expected at least one (step, params)")
        if self._collection is not None:
            return self._collection.finish({**attributes, "collected": self._told})
        remove(self._location)
        self._location.consolidate()
        return open_losses(self._location.open_group())

    def _measured(self, checkpoint: Checkpoint) -> Iterator[tuple[Tokens, Measured]]:
        """Each batch and its losses at a checkpoint."""
        reader, number = self._given.reader, len(self._given.summary.digests)
        if self._workers is not None:
            return measured_by_workers(self._workers, self._evaluator, checkpoint, reader, number)
        return measured_here(self._evaluator, self._evaluator.prepare(checkpoint.load(), next(iter(reader))), reader)

    def _done(self) -> tuple[list[float], list[float]]:
        """Steps that are done, and their mean losses."""
        if self._collection is not None:
            return self._collection.steps, self._collection.rows[:, -1].tolist()
        if self._store is not None:
            columns = self._store.checkpoint_coordinates
            return columns["step"].tolist(), columns["mean_loss"].tolist()
        return [], []

    def _tell(self, checkpoint: Checkpoint, mean_loss: float, seconds: float | None = None) -> None:
        if self._progress is not None:
            report = (checkpoint.step, self._given.summary.tokens, mean_loss, seconds or 0.0, seconds is None)
            self._progress(CheckpointReport(*report))
