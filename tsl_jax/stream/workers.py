"""Where tasks run: in other processes, of this machine or of others. What fails there comes back as a value."""

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from .cores import use_granted_cores
from .outcomes import Outcome, WorkerError, attempt, value_of
from .sending import CURE, dumps_of

Item = TypeVar("Item")

#: What is done of an item; what makes one result of two; what is called with the number of each item that is done.
Task = Callable[[Item], Any]
Merge = Callable[[Any, Any], Any]
Report = Callable[[int], None]


class Workers(Protocol):
    """Processes that see the same files."""

    @property
    def count(self) -> int:
        """How many tasks run at a time."""
        ...

    @property
    def lost(self) -> int:
        """How many of them have ended so far, which may have left files that they were writing."""
        ...

    @property
    def dumps(self) -> Callable[[Any], bytes]:
        """What tasks are sent with."""
        ...

    def call(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """What a function returns in one of them."""
        ...

    def each(
        self, function: Task[Item], items: Iterable[Item], /, *, name: str, again: Callable[[Item], Item] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """The number of each item and what the function returns of it, as they come.

        Args:
            function: what is done.
            items: of what; a few for each worker are asked for ahead, so that any number of them may come.
            name: what tasks are called.
            again: makes of an item one that may run beside it, when there is nothing else to do; whichever is done
                first counts. None: no item runs twice.
        """
        ...

    def reduce(self, function: Task[Item], merge: Merge, items: Sequence[Item], /, *, name: str, report: Report) -> Any:
        """What the function returns of all items, merged as `merged` does.

        Args:
            function: what is done of each.
            merge: makes one result of two.
            items: at least one.
            name: what tasks are called.
            report: called with the number of each item that is done.
        """
        ...


def workers_of(client: Any) -> Workers | None:
    """What users hand over as ``client``: a Dask client, an executor of processes, or nothing.

    Raises:
        TypeError: it is none of these.
    """
    if client is None or (hasattr(client, "each") and hasattr(client, "reduce")):
        return client
    if isinstance(client, concurrent.futures.Executor):
        return PoolWorkers(client)
    if type(client).__module__.startswith("distributed."):
        from .dask_workers import DaskWorkers

        return DaskWorkers(client)
    raise TypeError(
        f"client: got {type(client).__name__}, expected a dask.distributed.Client or a concurrent.futures.Executor"
    )


class PoolWorkers:
    """The processes of an executor, such as `concurrent.futures.ProcessPoolExecutor` with the context ``"spawn"``."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    @property
    def count(self) -> int:
        """See `Workers`."""
        return getattr(self._executor, "_max_workers", None) or os.cpu_count() or 1

    @property
    def lost(self) -> int:
        """See `Workers`: an executor ends with the first of them."""
        return 0

    @property
    def dumps(self) -> Callable[[Any], bytes]:
        """See `Workers`."""
        return dumps_of(self._executor)

    def call(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """See `Workers`."""
        return self._value(self._submit(function, *arguments))

    def each(
        self, function: Task[Item], items: Iterable[Item], /, *, name: str, again: Callable[[Item], Item] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """See `Workers`; no item runs twice."""
        del name, again
        coming, futures = enumerate(items), dict[concurrent.futures.Future, int]()
        try:
            while True:
                for index, item in itertools.islice(coming, most_under_way(self.count) - len(futures)):
                    futures[self._submit(function, item)] = index
                if not futures:
                    return
                done, _ = concurrent.futures.wait(futures, return_when="FIRST_COMPLETED")
                for future in done:
                    yield futures.pop(future), self._value(future)
        finally:
            for future in futures:
                future.cancel()

    def reduce(self, function: Task[Item], merge: Merge, items: Sequence[Item], /, *, name: str, report: Report) -> Any:
        """See `Workers`; results are merged here."""
        del name
        futures = [self._submit(function, item) for item in items]

        def results() -> Iterator[Any]:
            for index in range(len(futures)):
                result = self._value(futures[index])
                futures[index] = None  # type: ignore[call-overload]  # its result may be large
                report(index)
                yield result

        try:
            return merged(merge, results())
        finally:
            for future in futures:
                if future is not None:
                    future.cancel()

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        cores = max(1, (os.cpu_count() or 1) // self.count)
        return self._executor.submit(_attempt_with, cores, function, *arguments)

    def _value(self, future: Any) -> Any:
        try:
            outcome = future.result()
        except concurrent.futures.BrokenExecutor as error:
            raise WorkerError(
                "A worker process ended, as by a kill or for want of memory, and its executor with it. What was "
                "finished is kept. Run the same again, with less memory= or fewer workers if it happens again."
            ) from error
        except Exception as error:  # what a task itself raises is a value: this one could not be sent
            why = f"{type(error).__name__}: {error}"
            raise WorkerError(f"A task, or what comes of it, cannot be sent to a process ({why}). {CURE}") from error
        return value_of(outcome)


def most_under_way(workers: int) -> int:
    """How many items may be under way: enough that no worker waits, of a few that may yet come too."""
    return 8 * max(workers, 16)


def merged(merge: Merge, results: Iterator[Any]) -> Any:
    """Results merged two by two, neighbours first, as soon as they are there: few are held at a time.

    Which are merged depends on their number alone, so that sums of floating-point numbers have the same bits wherever
    they were made.
    """
    held: list[tuple[int, Any]] = []  # of how many results each, in order; each of more than the next
    for result in results:
        size = 1
        while held and held[-1][0] == size:
            result, size = merge(held.pop()[1], result), 2 * size
        held.append((size, result))
    _, whole = held.pop()
    while held:
        whole = merge(held.pop()[1], whole)
    return whole


def _attempt_with(cores: int, function: Callable[..., Any], *arguments: Any) -> Outcome:
    """`attempt` in a process of an executor, which has a part of the machine's cores."""
    use_granted_cores(cores)
    return attempt(function, *arguments)
