"""Some blocks of a store, fitted: here, or in a worker that is handed nothing but data."""

import contextlib
import dataclasses
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from ...fitting import NoiseModel
from ...store import BadChunk, BlockState, ChangedError, FitStore, FitWriter, LossStore, locate
from ...store.fits import open_fits_at
from ...store.fitters import difference, note_fitter
from ...store.ledger import read_record
from ...store.location import arrays_of
from ...store.lock import Lock
from ...store.presence import Objects
from ...store.run_mark import RunMark
from ...store.schema import LEDGER
from ...stream.begun import Begun
from ...stream.blocks import StreamResult, stream_blocks
from ...stream.cores import tasks_at_a_time
from ...stream.machine import local_devices
from ...stream.outcomes import refuse_other_version
from ...stream.plan import Block, blocks_of
from ...stream.reading import BlockReader
from ...stream.sending import seen_from_here
from ...stream.stages import StageSeconds
from .fitter import BlockFitter, Devices
from .hardware import describe_fitter
from .plan import fitter_of
from .request import FitRequest
from .samples import KeptSample
from .writing import BlockWriter


@dataclasses.dataclass(frozen=True)
class FitTask:
    """What a worker is asked to fit.

    Args:
        request: whose fits these are, with the kernel that was chosen.
        run: the mark of the run, see `tsl_jax.store.run_mark`.
        blocks: first block, and one past the last.
        fitter: what is to fit, see `describe_fitter`; None: whatever is there.
        version: of the package.
        backwards: whether the last block is fitted first, as a second worker does that helps with a task.
    """

    request: FitRequest
    run: str
    blocks: tuple[int, int]
    fitter: Mapping[str, str] | None
    version: str
    backwards: bool = False


@dataclasses.dataclass(frozen=True)
class TaskReport:
    """What came of some blocks.

    Attributes:
        rows: (entries,) of the ledger by block, of those that were fitted here or found finished.
        fitted: tokens that were fitted here.
        bad_chunks: chunks that could not be read.
        stages: seconds of each stage.
        compile_seconds: for compiling.
        devices: what fitted, such as ``"2 x cpu"``.
    """

    rows: Mapping[int, np.ndarray]
    fitted: int
    bad_chunks: tuple[BadChunk, ...]
    stages: StageSeconds
    compile_seconds: float
    devices: str


def fit_blocks(
    source: LossStore,
    store: FitStore,
    fitter: BlockFitter,
    blocks: Iterable[Block],
    request: FitRequest,
    lock: Lock,
    objects: Objects | None,
    progress: Callable[[int], None],
    *,
    begun: Begun | None = None,
    kept: KeptSample | None = None,
) -> TaskReport:
    """Fit blocks of a store that is made, write and record them.

    Args:
        source: the losses.
        store: where the fits go.
        fitter: what fits.
        blocks: which; asked for one by one, a few ahead of their turn.
        request: how bad chunks are met.
        lock: checked before a block is counted as done.
        objects: the listing of the losses' store.
        progress: called with the tokens of each block that is done.
        begun: blocks that are read or fitted by now, by the same fitter with the noise of the store.
        kept: where the sample's rows are kept that are written.
    """
    shared = None if store.noise is None else NoiseModel.from_dict(dict(store.noise))
    seconds = fitter.compile(store.ledger.block_tokens, source.num_tokens, shared)
    number = note_fitter(store.location, describe_fitter(fitter.options.kernel, fitter.devices[0]))
    read = BlockReader(source, fitter.put, request.on_bad_chunk, objects, fitter.room)
    write = BlockWriter(FitWriter(store, number), store.event, lock, kept)
    fitted = 0

    def report(tokens: int) -> None:
        nonlocal fitted
        fitted += tokens
        progress(tokens)

    result: StreamResult = stream_blocks(read, fitter, write, blocks, progress=report, begun=begun)
    return TaskReport(write.rows, fitted, result.bad_chunks, result.stages, seconds, fitter.described)


def run_task(task: FitTask) -> TaskReport:
    """Fit the blocks of a task in this process; those that are finished by now are left as they are.

    Raises:
        WorkerError: this process has another version of the package.
        ChangedError: another kind of device, processor or kernel is here than is to fit.
        StoreError: the stores are not seen from here, cannot be read or written, or the run has ended.
    """
    refuse_other_version(task.version)
    with _Prepared.of(task) as own:
        return _run(task, own)


def _run(task: FitTask, own: "_Prepared") -> TaskReport:
    location = locate(task.request.fits, writable=True)
    with seen_from_here():
        group = location.open_group("r+")
    store, records = open_fits_at(location, group, repair=True, blocks=(0, 0)), arrays_of(group)[LEDGER]
    _refuse_other_fitter(task, store, own.fitter)
    mark = RunMark(location, task.run)
    mark.check()
    found: dict[int, np.ndarray] = {}

    def blocks() -> Iterator[Block]:
        """Blocks that are not finished when their turn comes, a little before they are read."""
        mine = blocks_of(own.source.num_tokens, store.ledger.block_tokens)[slice(*task.blocks)]
        for block in reversed(mine) if task.backwards else mine:
            row = read_record(records, block.index)
            if row[0] == BlockState.FINISHED:
                found[block.index] = row
            else:
                yield block

    report = fit_blocks(own.source, store, own.fitter, blocks(), task.request, mark, own.objects, lambda _: None)
    return dataclasses.replace(report, rows={**found, **report.rows})


def again_from_the_end(task: FitTask) -> FitTask:
    """The task for a second worker, which meets the first in the middle."""
    return dataclasses.replace(task, backwards=True)


def _refuse_other_fitter(task: FitTask, store: FitStore, fitter: BlockFitter) -> None:
    here = describe_fitter(fitter.options.kernel, fitter.devices[0])
    if task.fitter is not None and here != dict(task.fitter):
        found = f"this worker would fit with {difference(here, task.fitter)}"
        raise ChangedError(store.name, [f"fitter: {found}. Fits may differ in their last bits: {MIXED_CURE}"])


#: The way out where devices of several kinds fit.
MIXED_CURE = (
    "give workers of one kind, or allow it with mixed_hardware=True (--mixed-hardware); the ledger then says which "
    "block was fitted by what."
)


class _Prepared:
    """What the tasks of one run share that are done one after the other in a worker, with some of its devices: the open
    losses, their listing, and what fits, compiled.
    """

    _lock, _free, _latest = threading.Lock(), queue.SimpleQueue[int](), dict[int, tuple[str, "_Prepared"]]()
    _devices: Sequence[Devices] = ()

    def __init__(self, task: FitTask, devices: Devices) -> None:
        with seen_from_here():
            self.source, self.objects = task.request.open_losses()
        self.fitter = fitter_of(task.request, self.source, devices)

    @classmethod
    @contextlib.contextmanager
    def of(cls, task: FitTask) -> "Iterator[_Prepared]":
        """For a task, while nothing else uses these devices; made by the first task of its run."""
        with cls._lock:
            if not cls._devices:
                cls._devices = shares_of(local_devices(), tasks_at_a_time())
                for place in range(len(cls._devices)):
                    cls._free.put(place)
        place = cls._free.get()
        try:
            if place not in cls._latest or cls._latest[place][0] != task.run:
                cls._latest.pop(place, None)
                cls._latest[place] = task.run, cls(task, cls._devices[place])
            yield cls._latest[place][1]
        finally:
            cls._free.put(place)


def shares_of(devices: Devices, tasks: int) -> list[Devices]:
    """The devices of each of so many tasks that run at a time: several each, or one that some share."""
    if tasks <= len(devices):
        return [devices[index::tasks] for index in range(tasks)]
    return [[devices[index % len(devices)]] for index in range(tasks)]
