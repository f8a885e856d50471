"""Reading ahead: a few blocks are read by threads before they are asked for."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Read = TypeVar("Read")

#: Threads that read.
READERS = 2


class pool:
    """A thread pool that, when its block ends with an error, drops what has not begun."""

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def __enter__(self) -> ThreadPoolExecutor:
        return self._executor

    def __exit__(self, kind: object, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=kind is not None)


def read_ahead(readers: ThreadPoolExecutor, read: Callable[[Part], Read], parts: Iterable[Part]) -> Iterator[Read]:
    """What is read of each part, in order; a few are read before they are asked for."""
    pending: deque[Future[Read]] = deque()
    for part in parts:
        pending.append(readers.submit(read, part))
        if len(pending) > READERS:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def in_order(read: Callable[[Part], Read], parts: Sequence[Part]) -> Iterator[tuple[Part, Read]]:
    """Each part with what is read of it, in order; a few are read before they are asked for."""
    with pool(READERS, "tsl-read") as readers:
        yield from zip(parts, read_ahead(readers, read, parts), strict=True)
