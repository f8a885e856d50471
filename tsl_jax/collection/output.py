"""The place of the output: free, unfinished, or a loss store that is whole."""

import contextlib

import zarr

from ..store import Location, StoreError, StoreNotFoundError
from ..store.errors import writing
from ..store.event_loop import wait_for
from ..store.own_files import refuse_foreign_files
from ..store.unfinished import UNFINISHED

#: The group inside the output that lives while losses are collected, and in it the group of their columns.
PLACE = "collecting"
COLUMNS = f"{PLACE}/columns"


def is_finished(location: Location) -> bool:
    """Whether a loss store is at the output; raises at anything else that does not belong here.

    Raises:
        StoreError: something is there that `collect` did not write.
    """
    try:
        kind = location.open_group().attrs.get("tsl_kind")
    except StoreNotFoundError:
        if location.directory is not None and location.directory.is_file():
            raise
        refuse_foreign_files(location)
        return False
    if kind not in ("losses", UNFINISHED):
        raise StoreError(f"{location.name}: holds tsl_kind={kind!r}, not losses; give another place")
    return kind == "losses"


def mark(location: Location) -> None:
    """Say at the output what is being made, unless a loss store is there; the caller holds `writer_lock`."""
    with writing(location.name, "the empty collection", kept="Nothing is collected yet."):
        for path in (location.path, location.key(PLACE)):
            try:
                Location(location.store, path, location.name).open_group()
            except StoreNotFoundError:
                zarr.create_group(location.store, path=path, attributes={"tsl_kind": UNFINISHED}, zarr_format=3)


def clear(location: Location) -> None:
    """Give up what is collected, and the loss store if there is one."""
    remove(location)
    with writing(location.name, "its attributes"), contextlib.suppress(StoreNotFoundError):
        location.open_group("r+").attrs["tsl_kind"] = UNFINISHED


def remove(location: Location) -> None:
    """Remove the columns of a collection that is finished or given up."""
    with writing(location.name, "the end of the collection"):
        wait_for(location.store.delete_dir(location.key(f"{COLUMNS}/ledger")))  # without it, nothing counts
        wait_for(location.store.delete_dir(location.key(PLACE)))
