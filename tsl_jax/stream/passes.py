"""A pass: what the tokens of a store add up to, however they are cut into parts and wherever these are added up."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from .ahead import in_order
from .parts import Part
from .sending import check_sent
from .workers import merged, workers_of

Block = TypeVar("Block")
State = TypeVar("State")
Result = TypeVar("Result", covariant=True)

#: Tokens of a task: a fraction of the store, within bounds. They depend on nothing else, so that sums of floating-point
#: numbers have the same bits wherever the tasks run.
TASKS, LEAST_TASK_TOKENS, MOST_TASK_TOKENS = 16, 2**22, 2**27


class Pass(Protocol[Block, State, Result]):
    """What a job adds up over tokens. It is pure but for `read`, and can be sent to another process."""

    def read(self, part: Part, /) -> Block:
        """What is needed of some tokens; called ahead of `add`, by several threads."""
        ...

    def start(self) -> State:
        """The state of no tokens."""
        ...

    def add(self, state: State, block: Block, /) -> State:
        """The state with more tokens; the one that it is given may be changed and returned."""
        ...

    def merge(self, one: State, other: State, /) -> State:
        """The state of the tokens of both; the first may be changed and returned."""
        ...

    def finish(self, state: State, /) -> Result:
        """What the state says."""
        ...


def run_pass(
    job: Pass[Any, State, Result],
    parts: Sequence[Part],
    *,
    progress: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> Result:
    """Add up the parts of a store.

    Args:
        job: what is added up.
        parts: of `tsl_jax.stream.parts`, consecutive.
        progress: called with the tokens done and all tokens: after each part here, after each task elsewhere.
        client: where tasks run: a `dask.distributed.Client` or a `concurrent.futures.Executor`; by default here, one
            after the other, with a few parts read ahead.

    Returns:
        What the job makes of the state of all tokens. Its bits do not depend on the workers.
    """
    workers = workers_of(client)
    done, total = 0, sum(part.stop - part.start for part in parts)

    def report(tokens: int) -> None:
        nonlocal done
        done += tokens
        if progress is not None:
            progress(done, total)

    tasks = tasks_of(parts)
    if not tasks:
        return job.finish(job.start())
    if workers is None:
        return job.finish(merged(job.merge, (add_up(job, task, report) for task in tasks)))

    for field in dataclasses.fields(job) if dataclasses.is_dataclass(job) else ():
        check_sent(field.name, getattr(job, field.name), workers.dumps)

    def report_task(index: int) -> None:
        report(tasks[index][-1].stop - tasks[index][0].start)

    adding = functools.partial(add_up, job)
    return job.finish(workers.reduce(adding, job.merge, tasks, name="tsl-pass", report=report_task))


def add_up(job: Pass[Any, State, Any], parts: Sequence[Part], report: Callable[[int], None] | None = None) -> State:
    """The state of a task's tokens; a few parts are read before they are added."""
    state = job.start()
    for part, block in in_order(job.read, parts):
        state = job.add(state, block)
        if report is not None:
            report(part.stop - part.start)
    return state


def tasks_of(parts: Sequence[Part]) -> list[list[Part]]:
    """Consecutive parts that are added up together; how many depends on the number of their tokens alone."""
    total = sum(part.stop - part.start for part in parts)
    most = min(max(-(-total // TASKS), LEAST_TASK_TOKENS), MOST_TASK_TOKENS)
    tasks: list[list[Part]] = []
    for part in parts:
        if not tasks or part.stop - tasks[-1][0].start > most:
            tasks.append([])
        tasks[-1].append(part)
    return tasks
