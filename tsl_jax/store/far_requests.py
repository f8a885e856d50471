"""Requests for several places at once where a store is far away, so that their waiting is done together."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .location import Location

Place = TypeVar("Place")
Answer = TypeVar("Answer")

#: How many, of one thread of the job.
_AT_ONCE = 64


def at_once(location: Location, ask: Callable[[Place], Answer], places: Iterable[Place]) -> list[Answer]:
    """What each place gives, in order; the first error that one of them raises is raised when all have ended.

    Args:
        location: of the store that is asked; one that is near is asked place by place.
        ask: asks it for one place.
        places: which.
    """
    if not location.far:
        return [ask(place) for place in places]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tsl-ask") as threads:
        return list(threads.map(ask, places))
