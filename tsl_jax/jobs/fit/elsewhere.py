"""Fitting the blocks of a store in workers: cut into tasks, handed out, counted."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from ...store import FitStore
from ...store.lock import Lock
from ...store.own_files import remove_partial_files
from ...store.run_mark import marked_run
from ...store.snapshot import keep_snapshot
from ...stream.outcomes import package_version
from ...stream.plan import Block
from ...stream.stages import StageSeconds
from ...stream.workers import Workers
from .plan import FitPlan
from .request import FitRequest
from .task import FitTask, TaskReport, again_from_the_end, run_task

#: Most tokens of a task: some minutes of a GPU.
MOST_TASK_TOKENS = 2**31
#: Seconds between two copies of the records.
_COPY_EVERY = 60.0


def fit_elsewhere(
    request: FitRequest,
    plan: FitPlan,
    store: FitStore,
    todo: Sequence[Block],
    workers: Workers,
    mixed_hardware: bool,
    lock: Lock,
    progress: Callable[[int], None],
) -> TaskReport:
    """Fit blocks in workers; the caller holds the store's lock alone. However it ends, no worker counts anything then.

    Args:
        request: what is asked for, as it can be sent.
        plan: how it is fitted.
        store: where the fits go.
        todo: the blocks.
        workers: where they are fitted.
        mixed_hardware: whether workers may differ in what may change the last bits of a fit.
        lock: that is held; once it is lost, the mark at the store is another run's.
        progress: called with the tokens of each task that is done.
    """
    fitter = None if mixed_hardware else dict(plan.fitter)
    request, version = plan.request(request), package_version()
    ranges = task_ranges(todo, workers.count)
    tokens = [sum(block.stop - block.start for block in todo if first <= block.index < last) for first, last in ranges]
    reports, rows, copied, lost = [], dict[int, np.ndarray](), time.monotonic(), workers.lost
    with marked_run(store.location, lock) as run:
        tasks = [FitTask(request, run, blocks, fitter, version) for blocks in ranges]
        for index, report in workers.each(run_task, tasks, name="tsl-fit", again=again_from_the_end):
            lock.check()
            reports.append(report)
            rows |= report.rows
            if time.monotonic() - copied > _COPY_EVERY:
                now = store.ledger.with_rows(rows)
                keep_snapshot(store.location, now.table, now.tags)
                copied = time.monotonic()
            progress(tokens[index])
        lock.check()
        if workers.lost > lost:
            remove_partial_files(store.location)
    return _together(reports)


def task_ranges(todo: Sequence[Block], workers: int) -> list[tuple[int, int]]:
    """First block, and one past the last, of each task; consecutive blocks of those that are to be fitted.

    Each task has half of a worker's part of what is left, so that tasks are few and the last ones short; blocks and
    records are what is safe, so that a long task that dies loses a block.
    """
    ranges, place = [], 0
    while place < len(todo):
        size = max(1, (len(todo) - place) // (2 * max(workers, 1)))
        first = todo[place]
        last = place + 1
        while last < len(todo) and last - place < size:
            block = todo[last]
            if block.index != todo[last - 1].index + 1 or block.stop - first.start > MOST_TASK_TOKENS:
                break
            last += 1
        ranges.append((first.index, todo[last - 1].index + 1))
        place = last
    return ranges


def _together(reports: Sequence[TaskReport]) -> TaskReport:
    stages = [report.stages for report in reports]
    names = StageSeconds.__dataclass_fields__
    return TaskReport(
        rows={block: row for report in reports for block, row in report.rows.items()},
        fitted=sum(report.fitted for report in reports),
        bad_chunks=tuple(bad for report in reports for bad in report.bad_chunks),
        stages=StageSeconds(**{name: sum(getattr(stage, name) for stage in stages) for name in names}),
        compile_seconds=max((report.compile_seconds for report in reports), default=0.0),
        devices=", ".join(sorted({report.devices for report in reports})),
    )
