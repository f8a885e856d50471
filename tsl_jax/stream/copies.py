"""Losses copied into a loss store by workers, a block each; the driver writes what spans blocks, and how far it is."""

import dataclasses
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..store import Location, LossStore, StoreError, StoreLike, UnfinishedLosses, locate
from ..store.arrays import storing_all
from ..store.imports.incoming import IncomingLosses
from ..store.location import arrays_of
from ..store.lock import Lock
from ..store.own_files import remove_partial_files
from ..store.reading import Absent
from ..store.run_mark import RunMark, marked_run
from ..store.token_copies import Copied, Losses, copy_block
from .outcomes import package_version, refuse_other_version
from .sending import check_sent, from_anywhere, seen_from_here
from .workers import workers_of

#: Opens losses in any process, given their source; and the source.
Reopen = tuple[Callable[[Any], LossStore | IncomingLosses], Any]


@dataclasses.dataclass(frozen=True)
class CopyTask:
    """What a worker is asked to copy.

    Args:
        reopen: see `Reopen`.
        target: the store that was begun.
        place: the path of the group that bears the mark of the run, in the target's store.
        run: that mark, see `tsl_jax.store.run_mark`.
        rows: first token, and one past the last: whole shards.
        absent: what a chunk of the losses is that is not stored.
        version: of the package.
    """

    reopen: Reopen
    target: str
    place: str
    run: str
    rows: tuple[int, int]
    absent: Absent
    version: str


def copied_by_workers(client: Any, reopen: Reopen, target: StoreLike) -> Callable[..., Copied]:
    """`tsl_jax.store.token_copies.Copying` in the workers of a client, for the group of a lock and that lock.

    Args:
        client: as of `tsl_jax.fit_store`.
        reopen: see `Reopen`.
        target: the store to be made.

    Raises:
        StoreError: source or target cannot be sent.
    """
    workers, name = workers_of(client), from_anywhere("target", target)
    assert workers is not None
    (opened, source), several = reopen, isinstance(reopen[1], list | tuple)
    sources = [from_anywhere("source", one) for one in (source if several else [source])]
    reopen = opened, sources if several else sources[0]
    check_sent("source", reopen, workers.dumps)

    def copied(
        place: Location,
        lock: Lock,
        losses: Losses,
        unfinished: UnfinishedLosses,
        blocks: Iterable[tuple[int, int]],
        absent: Absent,
    ) -> Copied:
        blocks, done = list(blocks), set[int]()
        with marked_run(place, lock) as run:
            given = name, place.path, run
            tasks = (CopyTask(reopen, *given, rows, absent, package_version()) for rows in blocks)
            first = 0
            for index, _ in workers.each(copy_rows, tasks, name="tsl-copy", again=_as_it_is):
                lock.check()
                done.add(index)
                while first in done:
                    done.remove(first)
                    yield blocks[first]
                    first += 1
            remove_partial_files(unfinished.location)  # of workers that were lost

    return copied


def copy_rows(task: CopyTask) -> None:
    """Copy the losses of a task in this process, and nothing once its run has ended.

    Raises:
        WorkerError: this process has another version of the package.
        StoreError: the stores are not seen from here, cannot be read or written, or the run has ended.
    """
    refuse_other_version(task.version)
    with seen_from_here():
        losses = _Reopened.of(task)
        location = locate(task.target, writable=True)
        group = location.open_group("r+")
    target = UnfinishedLosses(location, group, storing_all(arrays_of(group)["losses"]), {}, {})
    if losses.shape != target.losses.shape:
        raise StoreError(
            f"{location.name}: is made for losses of shape {target.losses.shape}, and this worker finds {losses.shape} "
            "at the source; give a path at which all workers see the same files"
        )
    mark = RunMark(Location(location.store, task.place, location.name), task.run)
    mark.check()
    copy_block(losses, target, *task.rows, task.absent, check=mark.check)


def _as_it_is(task: CopyTask) -> CopyTask:
    return task


class _Reopened:
    """The source of the run that this process worked for last."""

    _lock, _latest = threading.Lock(), dict[str, Losses]()

    @classmethod
    def of(cls, task: CopyTask) -> Losses:
        with cls._lock:
            if task.run not in cls._latest:
                opened, source = task.reopen
                found = opened(source)
                cls._latest.clear()
                cls._latest[task.run] = found.losses
            return cls._latest[task.run]
