"""Making a fit store, or taking up one that a killed run left."""

import dataclasses
from collections.abc import Callable
from typing import Any

import zarr
from zarr.errors import NodeNotFoundError

from .answers import cure_of
from .damage import damaged_blocks
from .errors import ChangedError, StoreError, StoreNotFoundError, writing
from .event_loop import wait_for
from .fingerprint import changed_blocks
from .fit_arrays import clear_fits, create_fit_arrays
from .fit_header import FitHeader, Layout, header_differences
from .fits import FitStore, open_fits_at
from .location import Location, StoreLike, arrays_of, locate
from .losses import LossStore
from .own_files import refuse_foreign_files, remove_partial_files
from .presence import Objects
from .record_objects import lacks_records
from .schema import LEDGER, fit_array_kinds


def refuse_foreign(location: Location, losses: LossStore | FitStore, *, overwrite: bool = False) -> bool:
    """Raise if the place of the output holds anything but a fit store; nothing is written.

    Args:
        location: of the output.
        losses: the input.
        overwrite: whether fits that are there are deleted: damaged ones, too, but nothing that is not the package's.

    Returns:
        Whether nothing is there but what lies beside the records of a ledger.

    Raises:
        StoreError: the output is the input, another kind of store, a place with other files, or a damaged fit store.
    """
    if location.store == losses.location.store and location.path == losses.location.path:
        raise StoreError(f"{location.name}: the output is the input; give another place for the fits")
    if location.directory is not None and location.directory.is_file():
        raise StoreError(f"{location.name}: is a file; give a directory for the fits")
    try:
        kind = location.open_group().attrs.get("tsl_kind")
    except StoreError as error:
        absent = isinstance(error, StoreNotFoundError)
        if absent and not isinstance(error.__cause__, NodeNotFoundError | FileNotFoundError):
            raise
        if cure_of(error.__cause__) is not None:  # nothing is known of what is there
            raise
        names = refuse_foreign_files(location) - {LEDGER}
        if (absent and not names) or (overwrite and {"status", "rss"} <= names and "losses" not in names):
            return not names
        found = f"{location.name}: holds arrays but no zarr.json. Restore it," if absent else f"{error} To write fits"
        anew = " or, of damaged fits, begin anew with overwrite=True" if "losses" not in names else ""
        raise StoreError(f"{found} give another place{anew}.") from error
    if kind != "fits":
        raise StoreError(
            f"{location.name}: holds tsl_kind={kind!r}, not fits, and is never replaced; delete it or give "
            "another place"
        )
    if overwrite:
        refuse_foreign_files(location)
    return False


def finished_fits(
    place: StoreLike,
    losses: LossStore,
    header_at: Callable[[Location], FitHeader],
    objects: Objects | None = None,
    *,
    deep: bool = False,
) -> FitStore | None:
    """The fit store at a place if all of it is finished and whole, so that nothing need be written; else None.

    Args:
        place: of the output, which may be read only.
        losses: what is fitted.
        header_at: says how it is fitted, given where finished fits are; their noise may be taken over.
        objects: the listing of the losses.
        deep: whether the results are read, too, and compared with the ledger.

    Raises:
        ChangedError: it is finished, from other losses or with other options.
    """
    try:
        location = locate(place)
        group = location.open_group()
        if lacks_records(group):
            return None
        fits = open_fits_at(location, group)
    except StoreError:
        return None  # what is wrong is told, or mended, by `resume_or_create`
    if not fits.complete or damaged_blocks(fits, deep=deep):
        return None
    stored = {name: value for name, value in fits.attributes.items() if name != "layout"}
    changes = header_differences(stored, header_at(location).attributes(losses))
    changes = changes or changed_blocks(losses, fits.ledger, objects)
    if changes:
        raise ChangedError(location.name, changes)
    return fits


def resume_or_create(
    location: Location,
    losses: LossStore | FitStore,
    header: FitHeader,
    layout: Layout,
    *,
    overwrite: bool = False,
    objects: Objects | None = None,
) -> FitStore:
    """The fit store to go on with; the caller holds `writer_lock`.

    Args:
        location: where the fits go.
        losses: what is fitted; or fits with these tokens and checkpoints, if the new fits are made from fits.
        header: how it is fitted.
        layout: how a new store is cut; one that is there keeps its own.
        overwrite: whether to delete fits that are there and begin anew.
        objects: the listing of the losses, which spares reading what did not change.

    Raises:
        ChangedError: the fits there were made from other losses or with other options.
        InvalidStoreError: the fits there are damaged; records of blocks alone are not: their blocks are fitted anew.
        WriteError: the store cannot be made or cleared.
        StoreError: a coordinate of the losses has the name of an array of the fits.
    """
    clash = set(losses.token_coordinates) | set(losses.checkpoint_coordinates)
    clash &= {*fit_array_kinds(header.parameters, header.event), LEDGER}
    if clash:
        raise StoreError(f"{losses.name}: coordinates {sorted(clash)} have names of results; rename them")
    new = refuse_foreign(location, losses, overwrite=overwrite)
    with writing(location.name, "the empty fit store"):
        remove_partial_files(location)
        if overwrite:
            clear_fits(location)
        attributes, new = header.attributes(losses), new and not _has_ledger(location)
        group, layout = _new_group(location, attributes, layout) if new else _group(location, attributes, layout)
        if new or LEDGER not in arrays_of(group):
            if not new and _has_ledger(location):
                raise StoreError(
                    f"{location.name}: {LEDGER}/zarr.json is damaged. Restore it, or fit again with overwrite=True."
                )
            create_fit_arrays(location, group, losses, header, layout)
    fits = open_fits_at(location, group, repair=True)
    with writing(location.name, "a copy of the metadata"):
        location.consolidate()  # not before: what is damaged would be copied, and what is restored not seen
    changes = changed_blocks(losses, fits.ledger, objects) if isinstance(losses, LossStore) else []
    if changes:
        raise ChangedError(location.name, changes)
    return fits


def is_made(location: Location) -> bool:
    """Whether a fit store is there with all its arrays; nobody may be making it meanwhile.

    Raises:
        StoreError: it is damaged, or cannot be read.
    """
    try:
        return LEDGER in arrays_of(location.open_group())
    except StoreNotFoundError:
        return False


def join_fits(location: Location, losses: LossStore, header: FitHeader, objects: Objects | None = None) -> FitStore:
    """A fit store that another process has made and may be writing, open for writing.

    Args:
        location: where the fits go.
        losses: what is fitted.
        header: how it is fitted.
        objects: the listing of the losses.

    Raises:
        ChangedError: it was made from other losses or with other options.
        StoreError: there is none, or it is damaged.
    """
    group, _ = _stored(location, header.attributes(losses))
    fits = open_fits_at(location, group, repair=True)
    changes = changed_blocks(losses, fits.ledger, objects)
    if changes:
        raise ChangedError(location.name, changes)
    return fits


def _has_ledger(location: Location) -> bool:
    return wait_for(location.store.exists(location.key(f"{LEDGER}/zarr.json")))


def _group(location: Location, attributes: dict[str, Any], layout: Layout) -> tuple[zarr.Group, Layout]:
    """The group with these attributes, made if there is none, and the layout that it was made with."""
    try:
        return _stored(location, attributes)
    except StoreNotFoundError:
        return _new_group(location, attributes, layout)


def _new_group(location: Location, attributes: dict[str, Any], layout: Layout) -> tuple[zarr.Group, Layout]:
    said = attributes | {"layout": dataclasses.asdict(layout)}
    return zarr.create_group(location.store, path=location.path, attributes=said, zarr_format=3), layout


def _stored(location: Location, attributes: dict[str, Any]) -> tuple[zarr.Group, Layout]:
    """The group that is there, with these attributes, and its layout."""
    group = location.open_group("r+")
    stored = group.attrs.asdict()
    kept: Any = stored.pop("layout", None)
    changes = header_differences(stored, attributes)
    if changes:
        raise ChangedError(location.name, changes)
    return group, Layout.of_attribute(kept, location.name)
