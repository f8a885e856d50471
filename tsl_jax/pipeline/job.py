"""The whole job: from a loss store to a fit store."""

import dataclasses
import importlib.metadata
import time
from typing import Literal

import jax
import numpy as np

from ..curves import Family
from ..lm import FitOptions, check_axis
from ..store import (
    BlockState,
    FitHeader,
    FitWriter,
    Ledger,
    LossStore,
    StoreError,
    StoreLike,
    locate,
    open_losses,
    refuse_foreign,
    resume_or_create,
    writer_lock,
)
from .device import BlockFitter, Devices
from .plan import DEFAULT_MEMORY, blocks_of, bytes_per_token, plan_layout
from .stream import Progress, StreamResult, stream_blocks
from .summary import FitSummary, counts_by_name


def fit_store(
    losses: StoreLike,
    fits: StoreLike,
    family: Family,
    *,
    axis: str = "step",
    options: FitOptions | None = None,
    memory: int | None = None,
    devices: Devices | None = None,
    on_bad_chunk: Literal["stop", "skip"] = "stop",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> FitSummary:
    """Fit a curve to every token of a loss store of any size, and write a fit store.

    The same as `tsl_jax.lm.fit` on all losses at once, but streamed: blocks are read, fitted and written at
    the same time. Kill it at any moment and run it again: it goes on, and ends with the bits of an
    uninterrupted run (on the same kind of device, with the same versions).

    Args:
        losses: the loss store: a path, a zip file, a URL or a Zarr store.
        fits: where the fits go: a path, a URL or a Zarr store.
        family: what to fit.
        axis: name of the axis, a checkpoint coordinate that increases.
        options: how to fit; the default is ``FitOptions()``.
        memory: host memory for the blocks in flight, in bytes; 1 GiB by default. Ignored when a run is
            resumed.
        devices: where to fit; all local devices by default.
        on_bad_chunk: ``"stop"`` raises at a chunk of the losses that cannot be read; ``"skip"`` gives its
            tokens `Status.UNREADABLE` and goes on. A later run with the same arguments tries only the bad
            blocks again.
        overwrite: delete the fits that are there and begin anew.
        progress: called with (tokens done, all tokens) at the start and after each block.

    Returns:
        What the store holds now, and what this run did.

    Raises:
        StoreError: the losses are no valid loss store, or the output cannot be used. Its subclasses:
            `InvalidStoreError`, `StoreNotFoundError`, `ChunkError` (a bad chunk), `WriteError` (a full disk),
            `LockedError` (another run is writing), `ChangedError` (other losses or options than the fits that
            are there).
        ValueError: the family, an option or the axis is wrong.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.curves import Sigmoid
        >>> from tsl_jax.store import create_losses
        >>> step = np.geomspace(10, 1e4, 32)
        >>> truth = {"learning_time": 300.0, "sharpness": 3.0, "loss_drop": 5.0, "final_loss": 1.0}
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> curve = np.asarray(Sigmoid().curve(step, truth))
        >>> _ = create_losses(source, curve[None], checkpoints={"step": step})
        >>> fit_store(source, target, Sigmoid()).category_counts["LEARNED"]
        1
    """
    begun = time.perf_counter()
    options = FitOptions() if options is None else options
    _check_arguments(family, options, on_bad_chunk, memory)
    source = open_losses(losses)
    time_axis = source.axis(axis)
    left_out = _left_out(family, time_axis)
    where = list(jax.local_devices() if devices is None else devices)
    fitter = BlockFitter(family, time_axis, source.losses.dtype, options, where)
    dtype = fitter.result_dtype
    target = locate(fits, writable=True)
    refuse_foreign(target, source)
    header = _header(family, axis, options, str(dtype), left_out)
    result_bytes = _result_bytes(family, dtype, source)
    token_bytes = bytes_per_token(source.num_checkpoints, source.losses.dtype.itemsize, result_bytes)
    layout = plan_layout(
        source.num_tokens,
        token_bytes,
        source.chunk_tokens,
        source.shard_tokens,
        memory or DEFAULT_MEMORY,
        fitter.row_multiple,
    )
    with writer_lock(target) as lock:
        store = resume_or_create(target, source, header, layout, overwrite=overwrite)
        blocks = blocks_of(source.num_tokens, store.ledger.block_tokens)
        todo = [b for b in blocks if store.ledger.states[b.index] != BlockState.FINISHED]
        report = _Reporter(progress, source.num_tokens, sum(b.stop - b.start for b in todo))
        compile_seconds, result = 0.0, StreamResult((), 0.0)
        if todo:
            compile_seconds = fitter.compile(store.ledger.block_tokens, source.num_tokens)
            result = stream_blocks(
                source,
                FitWriter(store),
                fitter,
                todo,
                lock=lock,
                on_bad_chunk=on_bad_chunk,
                progress=report.add,
            )
        ledger = Ledger.read(target.open_group())
    statuses, categories = counts_by_name(ledger)
    return FitSummary(
        tokens=source.num_tokens,
        checkpoints=source.num_checkpoints,
        status_counts=statuses,
        category_counts=categories,
        bad_chunks=result.bad_chunks,
        left_out_checkpoints=left_out,
        blocks=len(blocks),
        blocks_run=len(todo),
        tokens_run=sum(block.stop - block.start for block in todo),
        wall_seconds=time.perf_counter() - begun,
        compile_seconds=compile_seconds,
        fit_seconds=result.fit_seconds,
        devices=f"{len(where)} x {where[0].device_kind}",
    )


class _Reporter:
    """Turns tokens of finished blocks into calls of the user's progress function."""

    def __init__(self, progress: Progress | None, total: int, todo: int) -> None:
        self._progress, self._total, self._done = progress, total, total - todo
        self.add(0)

    def add(self, tokens: int) -> None:
        self._done += tokens
        if self._progress is not None:
            self._progress(self._done, self._total)


def _check_arguments(family: Family, options: FitOptions, on_bad_chunk: str, memory: int | None) -> None:
    if not isinstance(family, Family):
        raise TypeError(f"family: got {family!r}, expected a Family such as tsl_jax.Sigmoid()")
    if not isinstance(options, FitOptions):
        raise TypeError(f"options: got {options!r}, expected tsl_jax.FitOptions(...)")
    if on_bad_chunk not in ("stop", "skip"):
        raise ValueError(f"on_bad_chunk: got {on_bad_chunk!r}, expected 'stop' or 'skip'")
    if memory is not None and memory <= 0:
        raise ValueError(f"memory: got {memory!r}, expected a positive number of bytes")


def _left_out(family: Family, values: np.ndarray) -> tuple[int, ...]:
    """Checkpoints that cannot be used, those at 0 on a log scale; raises if too few are left."""
    usable = len(check_axis(family, values))
    needed = len(family.names) + 1
    if usable < needed:
        raise StoreError(
            f"losses: {usable} checkpoints can be used, expected at least {needed}, one more than "
            f"{family.name} has parameters; measure more checkpoints"
        )
    return tuple(range(len(values) - usable))


def _header(family: Family, axis: str, options: FitOptions, dtype: str, left_out: tuple[int, ...]) -> FitHeader:
    return FitHeader(
        family=family.name,
        family_fields=dataclasses.asdict(family),
        parameters={parameter.name: parameter.unit for parameter in family.parameters},
        scale=family.scale,
        axis=axis,
        options=dataclasses.asdict(options),
        dtype=dtype,
        package_version=importlib.metadata.version("tsl_jax"),
        left_out_checkpoints=left_out,
    )


def _result_bytes(family: Family, dtype: np.dtype, losses: LossStore) -> int:
    floats = 2 * len(family.names) + 3  # parameters, their errors, and rss, r2 and constant
    coordinates = sum(array.dtype.itemsize for array in losses.token_coordinates.values())
    return floats * dtype.itemsize + 4 + 2 + coordinates  # num_points; status and category
