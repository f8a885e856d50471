"""The mark of a run whose blocks are written by other processes: one that is not marked any more counts nothing.

The run that holds the output alone writes its mark there, and gives it to those that work for it. A worker that was
taken for dead and goes on after another run has begun finds another mark, or none, and stops.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator

from .errors import LockedError, StoreError, writing
from .location import Location
from .lock import Lock
from .schema import LEDGER

#: Where the mark lies.
RUN = f"{LEDGER}/run"


def begin_run(location: Location) -> str:
    """Mark a new run; all workers of earlier ones stop. The caller holds `writer_lock` alone."""
    run = uuid.uuid4().hex
    with writing(location.name, f"the mark {RUN}"):
        location.write_object(RUN, json.dumps({"run": run}).encode())
    return run


def end_runs(location: Location) -> None:
    """Take the mark away, if there is one: no worker counts any more. The caller holds `writer_lock` alone."""
    with writing(location.name, f"the mark {RUN}"):
        location.delete_object(RUN)


@contextlib.contextmanager
def marked_run(location: Location, lock: Lock) -> Iterator[str]:
    """Mark a new run while the block runs; however it ends, no worker counts anything then.

    Args:
        location: the output.
        lock: that the caller holds alone; once it is lost, the mark is another run's.
    """
    run = begin_run(location)
    try:
        yield run
    except BaseException:
        with contextlib.suppress(StoreError):  # tasks that still run stop; what ended this one is what is said
            lock.check()
            end_runs(location)
        raise
    lock.check()
    end_runs(location)


class RunMark:
    """What a worker holds: the mark of the run that it works for.

    Args:
        location: the output.
        run: the mark, of `begin_run`.
    """

    def __init__(self, location: Location, run: str) -> None:
        self._location, self._run = location, run

    def check(self) -> None:
        """Raise if the output does not bear the mark any more."""
        with writing(self._location.name, f"blocks, as the mark {RUN} could not be read"):
            content = self._location.read_object(RUN)
        if content is None or json.loads(content).get("run") != self._run:
            raise LockedError(
                f"{self._location.name}: the run that this worker fits for has ended, or another has taken over; the "
                "worker stops. What was finished is kept. Run the same command again to go on."
            )
