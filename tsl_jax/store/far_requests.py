"""Requests for several places at once where a store is far away, so that their waiting is done together."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from .location import Location

Place = TypeVar("Place")
Answer = TypeVar("Answer")

#: How many at a time, of all that this process asks through `at_once`, beside one for each thread that waits.
_AT_ONCE = 64


def at_once(location: Location, ask: Callable[[Place], Answer], places: Iterable[Place]) -> list[Answer]:
    """What each place gives, in order; an error that one of them raises is raised when all have ended that were asked.

    Args:
        location: of the store that is asked; one that is near is asked place by place.
        ask: asks it for one place; may itself ask for several at once.
        places: which.
    """
    if not location.far:
        return [ask(place) for place in places]
    answers: list[Answer] = []
    with _threads() as threads:
        asked = [(place, threads.submit(ask, place)) for place in places]
        try:
            for place, answer in reversed(asked):
                # A call runs in its own thread what no other thread has begun: so nested calls never wait for a thread
                # that another call holds.
                answers.append(ask(place) if answer.cancel() else answer.result())
        finally:
            wait([answer for _, answer in asked if not answer.cancel()])
    return answers[::-1]


def meanwhile(location: Location, ask: Callable[[], Answer]) -> Callable[[], Answer]:
    """Ask a store that is far away, and go on; of one that is near the answer is there when this returns.

    Args:
        location: of the store.
        ask: asks it.

    Returns:
        What waits for the answer, and gives it; or raises what was raised.
    """
    if location.far:
        thread = ThreadPoolExecutor(1, thread_name_prefix="tsl-ask")
        asked = thread.submit(ask)
        thread.shutdown(wait=False)  # it ends when it has the answer
        return asked.result
    answer = ask()
    return lambda: answer


class _Threads:
    """The threads that ask, shared by all calls that are under way; none is left when the last of them ends."""

    def __init__(self) -> None:
        self._lock, self._calls, self._executor = threading.Lock(), 0, ThreadPoolExecutor(1)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[ThreadPoolExecutor]:
        with self._lock:
            if not self._calls:
                self._executor = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tsl-ask")
            self._calls, executor = self._calls + 1, self._executor
        try:
            yield executor
        finally:
            with self._lock:
                self._calls -= 1
                last = not self._calls
            if last:  # nobody else has it any more
                executor.shutdown(wait=True)


_threads = _Threads()
