"""The workers of a Dask cluster."""

import contextlib
import functools
import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import cloudpickle
from distributed import Client, Future, KilledWorker, wait
from distributed.client import FutureCancelledError, FuturesCancelledError

from ..store import StoreError
from .cores import use_granted_cores
from .dask_scheduler import preparation
from .freed_memory import keep_freed_memory
from .outcomes import Outcome, WorkerError, attempt, value_of
from .workers import Merge, Report, Task, merged, most_under_way

Item = TypeVar("Item")

#: Workers that a task may lose before it is given up: preempted nodes are no sign that a task is bad.
ALLOWED_FAILURES = 20
#: Seconds between two looks at whether workers idle, and without a result after which idle ones help with what others
#: have: sooner, most of what they do is done twice.
_LOOK, _OVERDUE = 1.0, 5.0


class DaskWorkers:
    """See `tsl_jax.stream.workers.Workers`.

    Args:
        client: of the user's cluster.

    Raises:
        WorkerError: there are no workers.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        with _reached():
            if not self.count:
                client.wait_for_workers(1, timeout=60)
            client.run_on_scheduler(preparation(ALLOWED_FAILURES))

    @property
    def count(self) -> int:
        """How many tasks run at a time."""
        return sum(worker["nthreads"] for worker in self._client.scheduler_info(n_workers=-1)["workers"].values())

    @property
    def lost(self) -> int:
        """See `tsl_jax.stream.workers.Workers`."""
        with _reached():
            count: Any = self._client.run_on_scheduler(preparation(ALLOWED_FAILURES))
        return count

    @property
    def dumps(self) -> Callable[[Any], bytes]:
        """See `tsl_jax.stream.workers.Workers`: what takes classes of ``__main__`` along."""
        return cloudpickle.dumps

    def call(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """What a function returns in one of them; in a second one, if the first does not answer and another idles."""
        calls = self.each(_called, [functools.partial(function, *arguments)], name="tsl-call", again=_same)
        return next(value for _, value in calls)

    def each(
        self, function: Task[Item], items: Iterable[Item], /, *, name: str, again: Callable[[Item], Item] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """See `Workers`. Futures are released as they complete: those that are kept are made again after a kill."""
        under_way: dict[Future, int] = {}
        coming, left, copied = enumerate(items), dict[int, Item](), set[int]()
        latest = time.monotonic()
        with _reached():
            most = most_under_way(self.count)
        try:
            while True:
                for index, item in itertools.islice(coming, most - len(left)):
                    left[index] = item
                    with _reached():
                        under_way[self._submit(name, _attempt, (function, item), priority=-index)] = index
                if not left:
                    return
                came: list[tuple[int, Outcome]] = []
                with _reached():
                    with contextlib.suppress(TimeoutError):
                        self._wait(under_way, _LOOK)
                    for future in [future for future in under_way if future.done()]:
                        index = under_way.pop(future, None)
                        if index is None:
                            continue  # its other copy was done before
                        came.append((index, _outcome(future)))
                        del left[index]
                        latest = time.monotonic()
                        self._drop([future, *(other for other, i in under_way.items() if i == index)], under_way)
                    if again is not None and time.monotonic() - latest > _OVERDUE:
                        alone = [index for index in left if index not in copied]
                        for index, worker in zip(reversed(alone), self._idle() if alone else [], strict=False):
                            copied.add(index)
                            how = {"workers": [worker], "allow_other_workers": True}
                            under_way[self._submit(name, _attempt, (function, again(left[index])), **how)] = index
                for index, outcome in came:
                    yield index, value_of(outcome)
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be what was lost
                self._drop(list(under_way), under_way)

    def reduce(self, function: Task[Item], merge: Merge, items: Sequence[Item], /, *, name: str, report: Report) -> Any:
        """See `Workers`: results are merged in the workers, and one comes here."""
        with _reached():
            leaves = [
                self._submit(name, _attempt, (function, item), priority=-index) for index, item in enumerate(items)
            ]
            merge_name = f"{name}-merge"
            whole = merged(lambda *two: self._submit(merge_name, _merge, (merge,), two), iter(leaves))
            under_way = {leaf: index for index, leaf in enumerate(leaves)}
            del leaves
            while under_way:
                self._wait(under_way, None)
                for future in [future for future in under_way if future.done()]:
                    report(under_way.pop(future))
            outcome = _outcome(whole)
        return value_of(outcome)

    def _submit(
        self, name: str, function: Callable[..., Any], arguments: tuple, results: Iterable[Future] = (), **how: Any
    ) -> Future:
        """A task: the function of some arguments, and of results that are in workers."""
        call = cloudpickle.dumps((function, arguments))
        key = f"{name}-{uuid.uuid4().hex}"
        return self._client.submit(_reader(), call, *results, key=key, pure=False, **how)

    def _drop(self, futures: list[Future], under_way: dict[Future, int]) -> None:
        for future in futures:
            under_way.pop(future, None)
        self._client.cancel(futures, force=True, reason="it is not needed any more")

    def _wait(self, under_way: dict[Future, int], seconds: float | None) -> None:
        """Until one of them is done."""
        with self._client.as_current():
            wait(list(under_way), timeout=seconds, return_when="FIRST_COMPLETED")

    def _idle(self) -> list[str]:
        """Workers without a task, while there are tasks."""
        if self._client.scheduler is None:
            raise OSError("the connection is closed")
        busy: Any = self._client.processing()
        return [worker for worker, tasks in busy.items() if not tasks]


def _reader() -> Callable[..., Any]:
    """What reads a task in a worker and does it; sent by value, as no function of a module is.

    Dask reads what it is sent where it listens: a worker that lacks the package would cut its connection there, come
    back and be given the same again. Read here, what is lacking is an error of the task.
    """

    def read_and_do(call: bytes, *results: Any) -> Any:
        import pickle

        function, arguments = pickle.loads(call)
        return function(*arguments, *results)

    return read_and_do


def _called(function: Callable[[], Any]) -> Any:
    return function()


def _same(item: Item) -> Item:
    return item


def _attempt(function: Callable[..., Any], *arguments: Any) -> Outcome:
    """`attempt` in a worker of Dask's, which grants it cores."""
    use_granted_cores()
    keep_freed_memory()
    return attempt(function, *arguments)


def _merge(merge: Callable[[Any, Any], Any], one: Outcome, other: Outcome) -> Outcome:
    failed = next((outcome for outcome in (one, other) if outcome.error is not None), None)
    return failed or attempt(merge, one.value, other.value)


def _outcome(future: Future) -> Outcome:
    try:
        return future.result()
    except KilledWorker as error:
        raise WorkerError(
            f"{ALLOWED_FAILURES} workers died while they did the same task; the last was {error.last_worker.address}. "
            "What was finished is kept. If they run out of memory, give less with memory= (--memory); else see their "
            "logs, and run the same again."
        ) from error
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        raise WorkerError(
            f"A worker lacks the package {package!r}. Install what this process has there, too "
            "(pip install 'tsl_jax[dask]'), and run the same again."
        ) from error
    except (FutureCancelledError, FuturesCancelledError, OSError):
        raise  # the scheduler is lost
    except Exception as error:  # what a task itself raises is a value: this one could not be sent, or read there
        raise WorkerError(
            f"A task could not be sent to a worker, or its result be read here ({type(error).__name__}: {error}). Give "
            "all of them the same versions of Python and of packages, and run the same again."
        ) from error


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """Say what it means when the scheduler does not answer."""
    try:
        yield
    except StoreError:
        raise
    except (FutureCancelledError, FuturesCancelledError, TimeoutError, OSError) as error:
        raise WorkerError(
            f"The scheduler does not answer, or has no workers ({type(error).__name__}: {error}). What was finished is "
            "kept. Start it and its workers, and run the same again."
        ) from error
