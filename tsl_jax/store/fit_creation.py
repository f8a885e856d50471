"""Making a fit store, or taking up one that a killed run left."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.core.sync import sync
from zarr.errors import NodeNotFoundError

from .arrays import create_array
from .damage import damaged_blocks
from .errors import ChangedError, InvalidStoreError, StoreError, StoreNotFoundError, Violation, writing
from .fingerprint import changed_blocks, describe_input, differences
from .fits import FitStore, open_fits_at
from .ledger import create_ledger
from .location import Location, StoreLike, arrays_of, locate
from .losses import LossStore
from .own_files import refuse_foreign_files, remove_partial_files
from .presence import Objects
from .schema import (
    CHECKPOINT,
    FIT_FORMAT_VERSION,
    LEDGER,
    NO_PROBABILITY,
    PROBABILITY_ARRAYS,
    PROBABILITY_STEPS,
    TOKEN,
    fit_array_kinds,
    is_layout,
)

_OWN_ATTRIBUTES = ("tsl_kind", "tsl_version", "coordinates", "loss_unit", "title", "data_kind", "layout")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a fit store is cut along tokens: chunks make shards, whole shards make blocks."""

    chunk_tokens: int
    shard_tokens: int
    block_tokens: int

    @classmethod
    def of_attribute(cls, stored: Any, name: str) -> "Layout":
        """The layout that a fit store says it has.

        Raises:
            InvalidStoreError: it says none that can be.
        """
        if not is_layout(stored):
            violation = Violation(
                "attribute layout", f"got {stored!r}", "chunks in shards in blocks", "Fit again with overwrite=True."
            )
            raise InvalidStoreError(name, "fits", [violation])
        return cls(**stored)


@dataclasses.dataclass(frozen=True)
class FitHeader:
    """What a fit store says of its fits; a resumed run must say the same.

    Args:
        family: name of the family.
        family_fields: what it was made with, by name.
        parameters: unit of each parameter by name, in the family's order.
        scale: ``"log"`` or ``"linear"``.
        axis: name of the axis.
        options: every option by name, as JSON can hold it.
        dtype: dtype of the fits, ``"float32"`` or ``"float64"``.
        package_version: version of the package that fits.
        event: name of the parameter that says when the event is; None for families without one.
        noise: the noise model that all tokens share, as JSON can hold it; None: each curve's own residuals alone.
        noise_source: where that comes from.
        left_out_checkpoints: checkpoints that are not used.
        input: what must not change of what the fits are made from; by default that of the losses.
        more: other attributes, by name.
    """

    family: str
    family_fields: Mapping[str, Any]
    parameters: Mapping[str, str]
    scale: str
    axis: str
    options: Mapping[str, Any]
    dtype: str
    package_version: str
    event: str | None = None
    noise: Mapping[str, Any] | None = None
    noise_source: str = "alone"
    left_out_checkpoints: Sequence[int] = ()
    input: Mapping[str, Any] | None = None
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def attributes(self, losses: LossStore | FitStore) -> dict[str, Any]:
        """Group attributes of the fit store of these losses, or of fits that are made from other fits."""
        copied = {name: value for name, value in losses.attributes.items() if name not in _OWN_ATTRIBUTES}
        coordinates = [*sorted(losses.checkpoint_coordinates), *losses.token_coordinates]
        return copied | {
            "tsl_kind": "fits",
            "tsl_version": FIT_FORMAT_VERSION,
            "package_version": self.package_version,
            "family": self.family,
            "family_fields": dict(self.family_fields),
            "parameters": list(self.parameters),
            "event": self.event,
            "scale": self.scale,
            "axis": self.axis,
            "dtype": self.dtype,
            "options": dict(self.options),
            "noise_source": self.noise_source,
            "noise": None if self.noise is None else dict(self.noise),
            "left_out_checkpoints": [int(i) for i in self.left_out_checkpoints],
            "input": describe_input(losses) if isinstance(losses, LossStore) else dict(self.input or {}),
            "coordinates": " ".join(coordinates),
            **self.more,
        }


def refuse_foreign(location: Location, losses: LossStore | FitStore, *, overwrite: bool = False) -> None:
    """Raise if the place of the output holds anything but a fit store; nothing is written.

    Args:
        location: of the output.
        losses: the input.
        overwrite: whether fits that are there are deleted: damaged ones, too, but nothing that is not the package's.

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
        names = refuse_foreign_files(location) - {LEDGER}
        if (absent and not names) or (overwrite and {"status", "rss"} <= names and "losses" not in names):
            return
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
        fits = open_fits_at(location, location.open_group())
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
    refuse_foreign(location, losses, overwrite=overwrite)
    with writing(location.name, "the empty fit store"):
        remove_partial_files(location)
        if overwrite:
            _clear(location)
        group, layout = _group_and_layout(location, header.attributes(losses), layout)
        if LEDGER not in arrays_of(group):
            if sync(location.store.exists(location.key(f"{LEDGER}/zarr.json"))):
                raise StoreError(
                    f"{location.name}: {LEDGER}/zarr.json is damaged. Restore it, or fit again with overwrite=True."
                )
            _create_arrays(location, group, losses, header, layout)
        if group.metadata.consolidated_metadata is None:
            location.consolidate()
    fits = open_fits_at(location, group, repair=True)
    changes = changed_blocks(losses, fits.ledger, objects) if isinstance(losses, LossStore) else []
    if changes:
        raise ChangedError(location.name, changes)
    return fits


def _group_and_layout(location: Location, attributes: dict[str, Any], layout: Layout) -> tuple[zarr.Group, Layout]:
    """The group with these attributes, made if there is none, and the layout that it was made with."""
    try:
        group = location.open_group("r+")
    except StoreNotFoundError:
        attributes["layout"] = dataclasses.asdict(layout)
        zarr.create_group(location.store, path=location.path, attributes=attributes, zarr_format=3)
        return location.open_group("r+"), layout
    stored = group.attrs.asdict()
    kept: Any = stored.pop("layout", None)
    changes = header_differences(stored, attributes)
    if changes:
        raise ChangedError(location.name, changes)
    return group, Layout.of_attribute(kept, location.name)


def recorded_noise(location: Location) -> tuple[str, dict[str, Any] | None] | None:
    """Where the noise of the fits at a place comes from, and the model; None where there are no fits yet."""
    try:
        attributes: dict[str, Any] = location.open_group().attrs.asdict()
    except StoreNotFoundError:
        return None
    if attributes.get("tsl_kind") != "fits" or "noise_source" not in attributes:
        return None
    return attributes["noise_source"], attributes.get("noise")


def header_differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two headers, one sentence each; of the noise model as a whole."""
    names = ("noise_source", "noise")
    old, new = ({name: value for name, value in side.items() if name not in names} for side in (stored, now))
    changes = differences(old, new)
    same = [stored.get(name) for name in names] == [now.get(name) for name in names]
    if same or any(change.startswith(("options.noise:", "tsl_version:")) for change in changes):
        return changes
    return [*changes, f"noise: was {_said_of_noise(stored)}, now {_said_of_noise(now)}"]


def _said_of_noise(header: Mapping[str, Any]) -> str:
    source, model = header.get("noise_source"), header.get("noise")
    if isinstance(model, Mapping):
        return f"a model that was {source} (correlation {model.get('lag_mean'):.6g})"
    return "a model estimated from these losses" if source == "estimated" else "each curve's own residuals alone"


def _create_arrays(
    location: Location, group: zarr.Group, losses: LossStore | FitStore, header: FitHeader, layout: Layout
) -> None:
    """All arrays, the ledger last: it stands for a store that is ready."""

    def over_tokens(name: str, dtype: Any, fill: Any, attributes: Mapping[str, Any]) -> None:
        create_array(
            group,
            name,
            shape=(losses.num_tokens,),
            dtype=dtype,
            chunks=(layout.chunk_tokens,),
            shards=(layout.shard_tokens,) if layout.shard_tokens != layout.chunk_tokens else None,
            fill_value=fill,
            dimension_names=(TOKEN,),
            attributes=dict(attributes),
            overwrite=True,
        )

    for name in fit_array_kinds(header.parameters, header.event):
        parameter = header.parameters.get(name.removesuffix("_stderr"))
        dtype, fill, attributes = _FIT_ARRAY_TYPES.get(name, (None, np.nan, {"units": parameter}))
        over_tokens(name, dtype or header.dtype, fill, attributes)
    for name, array in losses.token_coordinates.items():
        over_tokens(name, array.dtype, array.fill_value, array.attrs.asdict())
    for name, values in sorted(losses.checkpoint_coordinates.items()):
        create_array(group, name, values=values, dimension_names=(CHECKPOINT,), overwrite=True)
    sync(location.store.delete_dir(location.key(f"{LEDGER}/c")))
    create_ledger(group, losses.num_tokens, layout.block_tokens)


#: Probabilities are decoded by readers that know the conventions for NetCDF files, such as xarray.
_PROBABILITY = {"units": "1", "scale_factor": 1 / PROBABILITY_STEPS, "_FillValue": NO_PROBABILITY}
_FIT_ARRAY_TYPES: dict[str, tuple[str | None, Any, dict[str, Any]]] = {
    "rss": (None, np.nan, {"units": "nat²"}),
    "r2": (None, np.nan, {"units": "1"}),
    "constant": (None, np.nan, {"units": "nat"}),
    "num_points": ("int32", 0, {"units": "1"}),
    "status": ("uint8", 255, {"units": "1"}),
    "category": ("uint8", 255, {"units": "1"}),
    "noise_correlation": ("float16", np.nan, {"units": "1"}),
    "effective_points": ("float16", np.nan, {"units": "1"}),
    **dict.fromkeys(PROBABILITY_ARRAYS.values(), ("uint8", NO_PROBABILITY, _PROBABILITY)),
}


def _clear(location: Location) -> None:
    """Delete a fit store in an order that leaves no moment at which it looks finished."""
    names = [name for name in sync(_names(location)) if name not in (LEDGER, "zarr.json")]
    sync(location.store.delete_dir(location.key(f"{LEDGER}/c")))
    sync(location.store.delete(location.key(f"{LEDGER}/zarr.json")))
    for name in names:
        sync(location.store.delete_dir(location.key(name)))
    sync(location.store.delete(location.key("zarr.json")))


async def _names(location: Location) -> list[str]:
    return sorted([name async for name in location.store.list_dir(location.path)])
