"""A lease: an object that says until when a run writes an output, renewed while that run lives.

The lease ``ledger/lease`` is of one run alone; each of several runs that share the work has one of its own,
``ledger/lease-OWNER``. Whoever takes one writes it first and then looks for those that exclude it, so that of two runs
that begin in the same instant at most one goes on.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from .errors import LockedError, StoreError, writing
from .location import Location
from .schema import LEDGER

#: How long a lease outlives its last heartbeat, in seconds.
LEASE_SECONDS = 60.0
_NAME = "lease"


class Lease:
    """What a run holds while it writes to an output that has no lock of the kernel's."""

    def __init__(self, location: Location, *, shared: bool = False) -> None:
        self._store, self._location, self._name = location.store, location, location.name
        self._owner, self._shared = uuid.uuid4().hex, shared
        self._inside = f"{LEDGER}/{_NAME}-{self._owner}" if shared else f"{LEDGER}/{_NAME}"
        self._until = 0.0
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="tsl-lease", daemon=True)

    def acquire(self) -> None:
        """Take the lease, or refuse."""
        if self._shared:
            self._renew()
        else:
            self._take_over()
        try:
            for inside, held in self._excluding():
                self._refuse_if_alive(inside, held)
                if inside.startswith(f"{LEDGER}/{_NAME}-"):
                    self._delete(inside)  # of a run that was killed
        except BaseException:
            self._delete(self._inside)
            raise
        self._thread.start()

    def release(self) -> None:
        """Give the lease back; one that cannot be deleted ends by itself."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(StoreError):  # saying so would hide why the store fails
            held = self._read(self._inside)
            if held is not None and held["owner"] == self._owner:
                self._delete(self._inside)

    def check(self) -> None:
        """Raise if the lease was lost."""
        if self._failure is not None:
            raise self._failure
        if _now() > self._until:
            raise LockedError(
                f"{self._name}: this run could not renew its lease {self._inside} for {LEASE_SECONDS:.0f} s (the "
                "connection was away, the process was stopped, or a clock was changed) and stops, as another may have "
                "taken over. What was finished is kept. Run the same command again to go on."
            )

    def _take_over(self) -> None:
        held = self._read(self._inside)
        if held is None:
            self._until = _now() + LEASE_SECONDS
            with self._writing(self._inside):
                self._location.write_object(self._inside, self._content(), unless_there=True)
        else:
            self._refuse_if_alive(self._inside, held)
            self._renew()
            time.sleep(min(1.0, LEASE_SECONDS / 10))  # of two runs that take over at once, the last writer stays
        held = self._read(self._inside)
        if held is None or held["owner"] != self._owner:
            raise refusal(self._name, held["holder"] if held else "another process")

    def _excluding(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Leases of others that this one cannot be held beside."""
        names = [_NAME] if self._shared else self._shared_names()
        for inside in (f"{LEDGER}/{name}" for name in names):
            held = self._read(inside)
            if held is not None:
                yield inside, held

    def _shared_names(self) -> list[str]:
        if not self._store.supports_listing:
            return []  # where nothing can be listed, work is not shared
        with self._writing(f"{LEDGER}/{_NAME}"):
            ledger = Location(self._store, self._location.key(LEDGER), self._name)
            return [name for name in ledger.names() if name.startswith(f"{_NAME}-")]

    def _beat(self) -> None:
        while not self._stop.wait(LEASE_SECONDS / 4):
            try:
                held = self._read(self._inside)
                if held is None or held["owner"] != self._owner:
                    raise self._lost(held["holder"] if held else None)
                self._renew()
            except BaseException as error:  # raised by check(), in the thread that writes
                self._failure = error
                return

    def _refuse_if_alive(self, inside: str, held: dict[str, Any]) -> None:
        left = held["until"] - _now()
        if left > LEASE_SECONDS:  # its holder's clock is ahead of this one: only its heartbeat tells
            if self._is_renewed(inside, held):
                raise refusal(self._name, held["holder"])
        elif left > 0:
            raise refusal(self._name, held["holder"], f" If it was killed, the output is free in {left:.0f} s.")

    def _is_renewed(self, inside: str, held: dict[str, Any]) -> bool:
        """Whether a lease changes within its length."""
        for _ in range(10):
            time.sleep(LEASE_SECONDS / 10)
            if self._read(inside) != held:
                return True
        return False

    def _lost(self, holder: str | None) -> LockedError:
        """What a run says that does not hold its lease any more."""
        said = f"was taken over by {holder}" if holder else "was deleted"
        return LockedError(
            f"{self._name}: the lease {self._inside} of this run {said}, so this run stops: two at once would damage "
            "the output. What was finished is kept. Make sure that no other run writes here, then run the same command "
            "again to go on."
        )

    def _renew(self) -> None:
        until = _now() + LEASE_SECONDS
        previous, self._until = self._until, until
        try:
            with self._writing(self._inside):
                self._location.write_object(self._inside, self._content())
        except BaseException:
            self._until = previous
            raise

    def _delete(self, inside: str) -> None:
        with contextlib.suppress(StoreError), self._writing(inside):
            self._location.delete_object(inside)

    def _content(self) -> bytes:
        return json.dumps({"owner": self._owner, "holder": holder_here(), "until": self._until}).encode()

    def _writing(self, inside: str) -> contextlib.AbstractContextManager[None]:
        return writing(self._name, f"the lease {inside}")

    def _read(self, inside: str) -> dict[str, Any] | None:
        with self._writing(inside):
            content = self._location.read_object(inside)
        if content is None:
            return None
        try:
            held = json.loads(content)
            return {"owner": str(held["owner"]), "holder": str(held["holder"]), "until": float(held["until"])}
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{self._name}: the lease {inside} is damaged. Make sure that no run is writing here, delete "
                "that object, and run the same command again."
            ) from error


def _now() -> float:
    """Seconds since 1970: leases are compared between machines."""
    return time.time()


def holder_here() -> str:
    """How a lock names this process."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def refusal(name: str, holder: str, more: str = "") -> LockedError:
    """Another run writes where this one would."""
    return LockedError(
        f"{name}: {holder} is writing it, and two at once would damage it.{more} This run has written nothing; what "
        "that one has finished is kept. Wait for it or stop it, then run the same command again to go on; or write to "
        "another output."
    )
