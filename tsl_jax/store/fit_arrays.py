"""The arrays of a fit store: made empty, and cleared."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from .arrays import create_array
from .event_loop import wait_for
from .far_requests import at_once
from .fit_header import FitHeader, Layout
from .fits import FitStore
from .ledger import create_ledger
from .location import Location
from .losses import LossStore
from .record_objects import delete_records
from .schema import CHECKPOINT, LEDGER, NO_PROBABILITY, PROBABILITY_ARRAYS, PROBABILITY_STEPS, TOKEN, fit_array_kinds
from .snapshot import forget_snapshot


def create_fit_arrays(
    location: Location, group: zarr.Group, losses: LossStore | FitStore, header: FitHeader, layout: Layout
) -> None:
    """All arrays, the ledger last: it stands for a store that is ready."""

    def over_tokens(array: tuple[str, Any, Any, Mapping[str, Any]]) -> None:
        name, dtype, fill, attributes = array
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

    arrays: list[tuple[str, Any, Any, Mapping[str, Any]]] = []
    for name in fit_array_kinds(header.parameters, header.event):
        parameter = header.parameters.get(name.removesuffix("_stderr"))
        dtype, fill, attributes = _FIT_ARRAY_TYPES.get(name, (None, np.nan, {"units": parameter}))
        own = header.event_dtype or header.dtype if name == header.event else header.dtype
        arrays.append((name, dtype or own, fill, attributes))
    for name, array in losses.token_coordinates.items():
        arrays.append((name, array.dtype, array.fill_value, array.attrs.asdict()))

    def over_checkpoints(column: tuple[str, np.ndarray]) -> None:
        name, values = column
        create_array(group, name, values=values, dimension_names=(CHECKPOINT,), overwrite=True)

    making = [functools.partial(over_tokens, array) for array in arrays]
    making += [functools.partial(over_checkpoints, column) for column in sorted(losses.checkpoint_coordinates.items())]
    at_once(location, lambda make: make(), making)
    delete_records(location)
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


def clear_fits(location: Location) -> None:
    """Delete a fit store in an order that leaves no moment at which it looks finished."""
    names = [name for name in location.names() if name not in (LEDGER, "zarr.json")]
    forget_snapshot(location)
    delete_records(location)
    wait_for(location.store.delete(location.key(f"{LEDGER}/zarr.json")))
    for name in names:
        wait_for(location.store.delete_dir(location.key(name)))
    wait_for(location.store.delete(location.key("zarr.json")))
