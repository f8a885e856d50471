"""The whole job: from a loss store to a fit store."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from zarr.errors import NodeNotFoundError

from ...curves import Family
from ...fitting import FitOptions, NoiseModel
from ...store import (
    FitStore,
    Location,
    LockedError,
    StoreError,
    StoreLike,
    StoreNotFoundError,
    finished_fits,
    locate,
    refuse_foreign,
    writer_lock,
)
from ...store.far_requests import meanwhile
from ...store.fit_creation import is_made
from ...store.lock import Lock, Unlocked
from ...store.run_mark import end_runs
from ...store.schema import MissingChunks
from ...stream.blocks import Progress
from ...stream.workers import workers_of
from ..progress import shown
from .fitter import Devices
from .request import FitRequest
from .running import FitJob
from .summary import FitSummary

#: Seconds in which a part of a job waits for another to make the store, and between two looks.
_PATIENCE, _LOOK = 600.0, 1.0


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
    progress: Progress | Literal["auto"] | None = "auto",
    client: Any = None,
    part: tuple[int, int] | None = None,
    mixed_hardware: bool = False,
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
        devices: where to fit; all local devices by default. With a client, all devices of each worker.
        on_bad_chunk: ``"stop"`` raises at a chunk of the losses that cannot be read; ``"skip"`` gives its
            tokens `Status.UNREADABLE` and goes on. A later run with the same arguments tries only the bad
            blocks again.
        missing_chunks: what a chunk of the losses is that is not stored. ``"refuse"`` takes it for lost and raises
            before anything is fitted; ``"as-nan"``: not measured; ``"as-fill"``: that, and coordinates of the fill
            value. See `tsl_jax.store.open_losses`.
        deep: whether to read the fits of finished blocks back and fit those anew that are not what was written;
            otherwise only those whose stored objects are absent, empty or of another size.
        overwrite: delete the fits that are there and begin anew.
        progress: called with (tokens done, all tokens) at the start and after each block; with a client after each
            task. ``"auto"`` (default): a bar in notebooks and at the Python prompt, none in scripts.
        client: fit in the workers of a cluster: a `dask.distributed.Client`, or a `concurrent.futures.Executor` of
            processes. Both stores are then paths that all workers see, or URLs. Whatever dies, run it again.
        part: ``(k, n)``: fit only the k-th of n parts of the blocks, counted from 0; other processes fit the other
            parts at the same time, as the tasks of a job array do.
        mixed_hardware: whether blocks may be fitted on several kinds of devices, processors, or builds of the kernel,
            whose fits may differ in the last bits; the ledger records which block was fitted by what.

    Returns:
        What the store holds now, and what this run did.

    Raises:
        StoreError: the losses are no valid loss store, or the output cannot be used. Its subclasses:
            `InvalidStoreError`, `StoreNotFoundError`, `ChunkError` (a bad chunk), `WriteError` (a full disk),
            `LockedError` (another run is writing), `ChangedError` (other losses, options or hardware than the fits that
            are there), `WorkerError` (workers cannot be reached, or died too often).
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
    request = FitRequest(losses, fits, family, axis, options, noise, memory, on_bad_chunk, missing_chunks)
    _check_part(part, overwrite, client)
    how = {"mixed_hardware": mixed_hardware, "overwrite": overwrite, "alone": part is None}
    is_new = _look(fits)
    with FitJob(request, workers_of(client), devices, **how) as job, shown(progress) as show:
        new, store = overwrite or is_new(), None
        if not new:
            store = finished_fits(fits, job.source, job.header_at, job.objects, deep=deep)
        if store is not None:  # nothing is written: the fits may be read only
            done, run = job.run(store, Unlocked(), show, part=part, writable=False)
        else:
            target = locate(fits, writable=True)
            refused = meanwhile(target, lambda: refuse_foreign(target, job.source, overwrite=overwrite))
            if new:
                job.plan_for(None)
            else:
                job.plan_at(target)
            refused()
            with _alone(job, target) if part is None else _beside_others(job, target) as (store, lock):
                done, run = job.run(store, lock, show, part=part, deep=deep)
    return FitSummary(**job.described(done), **run, wall_seconds=time.perf_counter() - begun)


def _look(fits: StoreLike) -> Callable[[], bool]:
    """Look at the place of the output, and go on; what is returned says whether nothing is there."""
    try:
        location = locate(fits)
    except StoreError:
        return lambda: False  # told where it is to be written

    def is_new() -> bool:
        try:
            location.open_group()
        except StoreNotFoundError as error:
            return isinstance(error.__cause__, NodeNotFoundError | FileNotFoundError)
        except StoreError:
            pass  # likewise
        return False

    return meanwhile(location, is_new)


@contextlib.contextmanager
def _alone(job: FitJob, target: Location) -> Iterator[tuple[FitStore, Lock]]:
    """The store to write, and its lock."""
    with writer_lock(target) as lock:
        job.fit_first()
        end_runs(target)
        yield job.create(target), lock


@contextlib.contextmanager
def _beside_others(job: FitJob, target: Location) -> Iterator[tuple[FitStore, Lock]]:
    """The store that the parts of a job write, made by whichever comes first, and a lock that they share."""
    given_up = time.monotonic() + _PATIENCE
    with contextlib.ExitStack() as held:
        while True:
            with contextlib.suppress(LockedError), writer_lock(target):  # or others are at work, and it is made
                end_runs(target)
                job.create(target)
            try:
                lock = held.enter_context(writer_lock(target, shared=True))
                if is_made(target):
                    break
                held.close()  # whoever was to make it has gone, or two have refused each other
            except LockedError:  # one of them is making it
                if time.monotonic() > given_up:
                    raise
            time.sleep(_LOOK * random.uniform(0.5, 1.5))
        yield job.join(target), lock


def _check_part(part: Any, overwrite: bool, client: Any) -> None:
    if part is None:
        return
    whole = isinstance(part, tuple) and len(part) == 2 and all(isinstance(number, int) for number in part)
    if not whole or not 0 <= part[0] < part[1]:
        raise ValueError(f"part: got {part!r}, expected (k, n), the k-th of n parts, counted from 0")
    if client is not None:
        raise ValueError("part: the workers of a client take all blocks; leave out one of the two")
    if overwrite:
        raise ValueError("overwrite: parts of a job would delete each other's fits; delete the fits before all of them")
