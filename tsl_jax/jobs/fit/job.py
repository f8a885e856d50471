"""The whole job: from a loss store to a fit store."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Literal

from ...curves import Family
from ...fitting import FitOptions, NoiseModel
from ...store import (
    BlockState,
    FitHeader,
    FitStore,
    FitWriter,
    Location,
    LossStore,
    StoreLike,
    Violation,
    damaged_blocks,
    finished_fits,
    list_objects,
    locate,
    open_fits,
    open_losses,
    refuse_foreign,
    resume_or_create,
    writer_lock,
)
from ...store.lock import Lock
from ...store.presence import Objects
from ...store.schema import MissingChunks
from ...stream.blocks import Progress, StreamResult, stream_blocks
from ...stream.machine import local_devices
from ...stream.plan import blocks_of
from ...stream.reading import BlockReader
from ...stream.stages import StageSeconds
from .fitter import BlockFitter, Devices
from .noise import check_asked, settle_noise
from .preparation import fit_header, fit_layout, left_out_checkpoints
from .summary import FitSummary, describe_tokens
from .writing import BlockWriter


def fit_store(
    losses: StoreLike,
    fits: StoreLike,
    family: Family,
    *,
    axis: str = "step",
    options: FitOptions | None = None,
    noise: Literal["estimate"] | NoiseModel | None = "estimate",
    memory: int | None = None,
    devices: Devices | None = None,
    on_bad_chunk: Literal["stop", "skip"] = "stop",
    missing_chunks: MissingChunks = "refuse",
    deep: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> FitSummary:
    """Fit a curve to every token of a loss store of any size, and write a fit store.

    The same as `tsl_jax.fitting.fit` on all losses at once, but streamed: blocks are read, fitted and written at
    the same time. Kill it at any moment and run it again: it goes on, and ends with the bits of an
    uninterrupted run (on the same kind of device, with the same versions).

    Args:
        losses: the loss store: a path, a zip file, a URL or a Zarr store.
        fits: where the fits go: a path, a URL or a Zarr store.
        family: what to fit.
        axis: name of the axis, a checkpoint coordinate that increases.
        options: how to fit; the default is ``FitOptions()``.
        noise: what all tokens' noise is taken for, with ``FitOptions(noise="correlated")``. ``"estimate"`` (default):
            a `tsl_jax.NoiseModel` of a thousand tokens spread over the store, estimated before the first block
            and recorded, so that a run that goes on takes the same; a model, as of another store with the same
            checkpoints; or None: each curve's own residuals alone, which is also what remains where fewer than 32
            tokens of the sample have residuals to learn from.
        memory: bytes of host memory for the blocks in flight, 1 GiB by default; a resumed run keeps its blocks.
        devices: where to fit; all local devices by default.
        on_bad_chunk: ``"stop"`` raises at a chunk of the losses that cannot be read; ``"skip"`` gives its
            tokens `Status.UNREADABLE` and goes on. A later run with the same arguments tries only the bad
            blocks again.
        missing_chunks: what a chunk of the losses is that is not stored. ``"refuse"`` takes it for lost and raises
            before anything is fitted; ``"as-nan"``: not measured; ``"as-fill"``: that, and coordinates of the fill
            value. See `tsl_jax.store.open_losses`.
        deep: whether to read the fits of finished blocks back and fit those anew that are not what was written;
            otherwise only those whose stored objects are absent, empty or of another size.
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
        >>> _ = create_losses(source, Sigmoid().curve(step, truth)[None], checkpoints={"step": step})
        >>> fit_store(source, target, Sigmoid()).category_counts["LEARNED"]
        1
    """
    begun = time.perf_counter()
    options = FitOptions() if options is None else options
    _check_arguments(family, options, on_bad_chunk, memory)
    source = open_losses(losses, missing_chunks=missing_chunks)
    objects = list_objects(source.location.store, source.location.path)
    if on_bad_chunk == "stop":
        source.raise_if_lost(objects)
    left_out = left_out_checkpoints(family, axis, source.axis(axis))
    where = list(local_devices() if devices is None else devices)
    fitter = BlockFitter(family, source.axis(axis), source.losses.dtype, options, where)
    check_asked(noise, options, source.axis(axis)[len(left_out) :])
    noise_seconds = 0.0

    def header_at(place: Location) -> FitHeader:
        nonlocal noise_seconds
        settling = time.perf_counter()
        of_noise = settle_noise(
            place, source, family, source.axis(axis), fitter.options, noise, on_bad_chunk, where[0], overwrite
        )
        noise_seconds = time.perf_counter() - settling
        return fit_header(family, axis, fitter, left_out, of_noise)

    store = None if overwrite else finished_fits(fits, source, header_at, objects, deep=deep)
    if store is not None:  # nothing is written: the fits may be read only
        run = _run(source, store, fitter, Lock(), on_bad_chunk, progress)
    else:
        layout = fit_layout(source, family, fitter, memory)
        target = locate(fits, writable=True)
        refuse_foreign(target, source, overwrite=overwrite)
        with writer_lock(target) as lock:
            header = header_at(target)
            store = resume_or_create(target, source, header, layout, overwrite=overwrite, objects=objects)
            damaged = damaged_blocks(store, deep=deep)
            run = _run(source, store, fitter, lock, on_bad_chunk, progress, damaged, objects)
            store = dataclasses.replace(store, ledger=open_fits(target.open_group()).ledger)
    return FitSummary(
        **describe_tokens(store),
        noise_seconds=noise_seconds,
        left_out_checkpoints=left_out,
        devices=f"{len(where)} x {where[0].device_kind}",
        kernel_name=fitter.options.kernel,
        **run,
        wall_seconds=time.perf_counter() - begun,
    )


def _run(
    source: LossStore,
    store: FitStore,
    fitter: BlockFitter,
    lock: Lock,
    on_bad_chunk: Literal["stop", "skip"],
    progress: Progress | None,
    damaged: Mapping[int, Violation] | None = None,
    objects: Objects | None = None,
) -> dict[str, Any]:
    """Fit the blocks that are not finished or damaged; what `FitSummary` says of it, by the names of its fields."""
    blocks, damaged = blocks_of(source.num_tokens, store.ledger.block_tokens), damaged or {}
    states = store.ledger.states
    todo = [block for block in blocks if states[block.index] != BlockState.FINISHED or block.index in damaged]
    tokens = sum(block.stop - block.start for block in todo)
    report = _Reporter(progress, source.num_tokens, tokens)
    compile_seconds, result = 0.0, StreamResult((), StageSeconds())
    if todo:
        shared = None if store.noise is None else NoiseModel.from_dict(dict(store.noise))
        compile_seconds = fitter.compile(store.ledger.block_tokens, source.num_tokens, shared)
        writer = FitWriter(store)
        for block in damaged:
            writer.reopen(block)
        read, write = BlockReader(source, fitter.put, on_bad_chunk, objects), BlockWriter(writer, store.event, lock)
        result = stream_blocks(read, fitter, write, todo, progress=report.add)
    return {
        "repaired": tuple(str(damage) for damage in (*store.ledger.damaged, *damaged.values())),
        "bad_chunks": result.bad_chunks,
        "blocks": len(blocks),
        "blocks_run": len(todo),
        "tokens_run": tokens,
        "compile_seconds": compile_seconds,
        "fit_seconds": result.stages.fit,
        "stages": result.stages,
    }


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
