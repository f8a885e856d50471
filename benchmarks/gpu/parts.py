"""The parts of `benchmarks gpu`: each prints its results as they come, and returns them for the JSON file."""

from collections.abc import Callable

from .checking import check
from .timing import lengths, quality, rates, stream
from .tuning import tune

#: What each takes: whether it is a rehearsal.
PARTS: dict[str, Callable[[bool], dict]] = {
    "check": check,
    "tune": tune,
    "rates": rates,
    "lengths": lengths,
    "quality": quality,
    "stream": stream,
}
