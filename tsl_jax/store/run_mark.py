"""The mark of a run whose blocks are written by other processes: one that is not marked any more counts nothing.

The run that holds the output alone writes its mark there, and gives it to those that work for it. A worker that was
taken for dead and goes on after another run has begun finds another mark, or none, and stops.
"""

import json
import uuid

from .errors import LockedError, writing
from .location import Location
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
