"""Losses of one checkpoint computed by workers, some batches of sequences each; they are written by the driver."""

import dataclasses
import threading
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from ..stream.outcomes import package_version, refuse_other_version
from ..stream.sending import check_sent
from ..stream.workers import Workers
from .batches import Tokens
from .checkpoints import Checkpoint
from .column import measured_here
from .jax_losses import Evaluator, Measured

#: Tokens of a task, unless batches have more: their losses and what the model reads of them wait in the driver.
_TASK_TOKENS = 2**17


@dataclasses.dataclass(frozen=True)
class MeasureTask:
    """What a worker is asked to measure.

    Args:
        evaluator: computes losses.
        checkpoint: whose parameters are loaded where they are needed.
        name: the same for all tasks of a checkpoint.
        batches: consecutive ones.
        version: of the package.
    """

    evaluator: Evaluator
    checkpoint: Checkpoint
    name: str
    batches: tuple[Tokens, ...]
    version: str


def measured_by_workers(
    workers: Workers, evaluator: Evaluator, checkpoint: Checkpoint, batches: Iterable[Tokens], number: int
) -> Iterator[tuple[Tokens, Measured]]:
    """Each batch and its losses, in order.

    Args:
        workers: that measure.
        evaluator: see `MeasureTask`.
        checkpoint: likewise.
        batches: read a few tasks ahead.
        number: of batches.

    Raises:
        StoreError: the evaluator, as its ``loss_fn``, or the checkpoint cannot be sent.
    """
    check_sent("loss_fn", evaluator, workers.dumps)
    check_sent(f"checkpoint {checkpoint}", checkpoint, workers.dumps)
    name, under_way = uuid.uuid4().hex, dict[int, tuple[Tokens, ...]]()

    def tasks() -> Iterator[MeasureTask]:
        for index, some in enumerate(_together(batches, -(-number // (4 * max(workers.count, 1))))):
            under_way[index] = some
            yield MeasureTask(evaluator, checkpoint, name, some, package_version())

    turn, waiting = 0, dict[int, list[Measured]]()
    for index, measured in workers.each(measure_batches, tasks(), name="tsl-collect", again=_as_it_is):
        waiting[index] = measured
        while turn in waiting:
            yield from zip(under_way.pop(turn), waiting.pop(turn), strict=True)
            turn += 1


def measure_batches(task: MeasureTask) -> list[Measured]:
    """The losses of a task's batches, computed in this process.

    Raises:
        WorkerError: this process has another version of the package.
        StoreError: what `Evaluator.prepare` raises.
    """
    refuse_other_version(task.version)
    evaluator, params = _LoadedModel.of(task)
    return [measured for _, measured in measured_here(evaluator, params, task.batches)]


def _together(batches: Iterable[Tokens], most: int) -> Iterator[tuple[Tokens, ...]]:
    """Consecutive batches, as many as a task has."""
    held, tokens = [], 0
    for batch in batches:
        held.append(batch)
        tokens += len(batch)
        if tokens >= _TASK_TOKENS or len(held) >= most:
            yield tuple(held)
            held, tokens = [], 0
    if held:
        yield tuple(held)


def _as_it_is(task: MeasureTask) -> MeasureTask:
    return task


class _LoadedModel:
    """The parameters of the checkpoint that this process measured last; those before are given up first."""

    _lock, _latest = threading.Lock(), dict[str, tuple[Evaluator, Any]]()

    @classmethod
    def of(cls, task: MeasureTask) -> tuple[Evaluator, Any]:
        with cls._lock:
            if task.name not in cls._latest:
                cls._latest.clear()
                params = task.evaluator.prepare(task.checkpoint.load(), task.batches[0])
                cls._latest[task.name] = task.evaluator, params
            return cls._latest[task.name]
