"""Where tasks run: in other processes, of this machine or of others. What fails there comes back as a value."""

import concurrent.futures
import dataclasses
import importlib.metadata
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from ..store import StoreError
from .cores import use_granted_cores

Item = TypeVar("Item")


class WorkerError(StoreError, RuntimeError):
    """Workers cannot be reached, cannot do the work, or died too often."""


class Workers(Protocol):
    """Processes that see the same files."""

    @property
    def count(self) -> int:
        """How many tasks run at a time."""
        ...

    def call(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """What a function returns in one of them."""
        ...

    def each(
        self,
        function: Callable[[Item], Any],
        items: Sequence[Item],
        /,
        *,
        name: str,
        again: Callable[[Item], Item] | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """The number of each item and what the function returns of it, as they come.

        Args:
            function: what is done.
            items: of what.
            name: what tasks are called.
            again: makes of an item one that may run beside it, when there is nothing else to do; whichever is done
                first counts. None: no item runs twice.
        """
        ...

    def reduce(
        self,
        function: Callable[[Item], Any],
        merge: Callable[[Any, Any], Any],
        items: Sequence[Item],
        /,
        *,
        name: str,
        report: Callable[[int], None],
    ) -> Any:
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

    def call(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """See `Workers`."""
        return self._value(self._submit(function, *arguments))

    def each(
        self, function: Callable[[Item], Any], items: Sequence[Item], /, *, name: str, again: Any = None
    ) -> Iterator[tuple[int, Any]]:
        """See `Workers`; no item runs twice."""
        del name, again
        futures = {self._submit(function, item): index for index, item in enumerate(items)}
        try:
            for future in concurrent.futures.as_completed(list(futures)):
                yield futures.pop(future), self._value(future)
        finally:
            for future in futures:
                future.cancel()

    def reduce(
        self,
        function: Callable[[Item], Any],
        merge: Callable[[Any, Any], Any],
        items: Sequence[Item],
        /,
        *,
        name: str,
        report: Callable[[int], None],
    ) -> Any:
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
            return value_of(future.result())
        except concurrent.futures.BrokenExecutor as error:
            raise WorkerError(
                "A worker process ended, as by a kill or for want of memory, and its executor with it. What was "
                "finished is kept. Run the same again, with less memory= or fewer workers if it happens again."
            ) from error


def merged(merge: Callable[[Any, Any], Any], results: Iterator[Any]) -> Any:
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


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a task: a value, or an error of it. Only workers that are lost are tried again."""

    value: Any = None
    error: Exception | None = None
    where: str = ""


def attempt(function: Callable[..., Any], *arguments: Any) -> Outcome:
    """Call a function in a worker; errors come back as values."""
    try:
        return Outcome(function(*arguments))
    except Exception as error:
        failure = error  # raised where the task came from
    return Outcome(error=_sendable(failure), where=f"process {os.getpid()} on {socket.gethostname()}")


def _attempt_with(cores: int, function: Callable[..., Any], *arguments: Any) -> Outcome:
    """`attempt` in a process of an executor, which has a part of the machine's cores."""
    use_granted_cores(cores)
    return attempt(function, *arguments)


def value_of(outcome: Outcome) -> Any:
    """The value; or raises the error, which says in which worker it was."""
    if outcome.error is None:
        return outcome.value
    if isinstance(outcome.error, StoreError):
        first, *more = outcome.error.args or ("",)
        outcome.error.args = (f"{first} (In the worker {outcome.where}.)", *more)
    else:
        outcome.error.add_note(f"In the worker {outcome.where}.")
    raise outcome.error


def package_version() -> str:
    """What a worker must have, too."""
    return importlib.metadata.version("tsl_jax")


def _sendable(error: Exception) -> Exception:
    """An error that another process can read: of the package's own and of Python's kinds as it is."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    if isinstance(error, StoreError) or type(error).__module__ == "builtins":
        return error
    return WorkerError(f"{type(error).__name__}: {error}")
