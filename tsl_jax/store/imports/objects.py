"""Losses that Python holds: arrays of NumPy, JAX, PyTorch and xarray, data frames, and several of them."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...arguments import as_array
from ..errors import StoreError
from ..names import as_store_errors
from .bundles import (
    CHECKPOINT_DIMS,
    LOSS_NAMES,
    Wanted,
    loss_name,
    losses_of_bundle,
    losses_of_checkpoints,
)
from .incoming import FlatColumn, IncomingLosses
from .source_array import SourceArray
from .steps import STEP_NAMES, one_step, step_in
from .table_losses import Frames, losses_of_tables
from .tensors import is_tensor, of_array

#: What messages call losses that are in no file.
NAME = "losses"


def losses_of_object(source: Any, wanted: Wanted, scratch: Any) -> IncomingLosses:
    """Losses of an array, a data set, a data frame, or one of them for each checkpoint.

    Raises:
        StoreError: it is of another kind, or its losses are not found.
    """
    if _is_of("xarray", source):
        return _of_xarray(source, wanted)
    if _is_of("pandas", source):
        return losses_of_tables(Frames("the data frame", [source], [None], scratch), wanted)
    if isinstance(source, Mapping):
        return _of_mapping(source, wanted)
    if isinstance(source, list | tuple) and source and all(map(_is_array, source)):
        found = [(f"losses[{at}]", {NAME: of_array(f"losses[{at}]", part)}) for at, part in enumerate(source)]
        return losses_of_checkpoints(NAME, found, [None] * len(found), wanted)
    return losses_of_bundle(NAME, {NAME: _array(NAME, source)}, wanted)


def is_path(source: Any) -> bool:
    """Whether it names a file, a folder or a URL."""
    return isinstance(source, str) or hasattr(source, "__fspath__")


def _is_of(package: str, value: Any) -> bool:
    module = sys.modules.get(package)
    kinds = {"xarray": ("DataArray", "Dataset"), "pandas": ("DataFrame",)}[package]
    return module is not None and isinstance(value, tuple(getattr(module, kind) for kind in kinds))


def _is_array(value: Any) -> bool:
    return is_tensor(value) or (hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape) > 0)


def _array(name: str, value: Any) -> SourceArray:
    if not _is_array(value):
        with as_store_errors():
            value = as_array(name, value)
    return of_array(name, value)


def _of_mapping(source: Mapping[Any, Any], wanted: Wanted) -> IncomingLosses:
    """Arrays by step, or by name."""
    if not source:
        raise StoreError("losses: got no arrays, expected arrays of losses by step, or losses and steps by name")
    if all(isinstance(key, int | float | np.number) for key in source):
        found = [(f"losses[{key}]", {NAME: _array(f"losses[{key}]", value)}) for key, value in source.items()]
        return losses_of_checkpoints(NAME, found, [one_step("losses: a step", key) for key in source], wanted)
    bundle = {str(name): _array(str(name), value) for name, value in source.items()}
    return losses_of_bundle(NAME, bundle, wanted)


def _of_xarray(source: Any, wanted: Wanted) -> IncomingLosses:
    """A data array of losses, or a data set that holds one, with its coordinates."""
    losses = source if hasattr(source, "dims") and not hasattr(source, "data_vars") else None
    if losses is None:
        by_step = {str(name): _variable(str(name), array) for name, array in source.data_vars.items()}
        losses = source[_key_of(loss_name("the data set", by_step, wanted.array) or "", source)]
    along = [dim for dim in losses.dims if str(dim).lower() in CHECKPOINT_DIMS]
    if len(along) != 1 and losses.ndim > 1:
        along = [losses.dims[0 if wanted.transpose else -1]]
    steps = _checkpoint_coordinates(losses, source, along)
    losses = losses.transpose(..., *along)
    bundle: dict[str, SourceArray] = {NAME: _variable(NAME, losses)}
    checkpoints = {**steps, **wanted.checkpoints}
    found = losses_of_bundle(NAME, bundle, Wanted(checkpoints))
    tokens = _token_coordinates(losses, source, along)
    attributes = {
        str(name): value for name, value in source.attrs.items() if isinstance(value, str | int | float | list)
    }
    return IncomingLosses(
        name=found.name,
        losses=found.losses,
        checkpoint_coordinates=found.checkpoint_coordinates,
        token_coordinates={**found.token_coordinates, **tokens},
        attributes={key: value for key, value in attributes.items() if not key.startswith("tsl_")},
    )


def _key_of(name: str, source: Any) -> Any:
    return next(key for key in source.data_vars if str(key) == name)


def _variable(name: str, array: Any) -> SourceArray:
    dims = tuple(map(str, array.dims))
    found = of_array(name, array)
    return SourceArray(name, found.shape, found.dtype, lambda index: np.asarray(array[index].data), dims)


def _others(losses: Any, source: Any) -> dict[str, Any]:
    """What is known beside the losses, by name."""
    named = {**{str(name): array for name, array in losses.coords.items()}}
    if hasattr(source, "data_vars"):
        named |= {str(name): array for name, array in source.data_vars.items() if str(name) not in LOSS_NAMES}
    return named


def _checkpoint_coordinates(losses: Any, source: Any, along: Sequence[Any]) -> dict[str, np.ndarray]:
    found = {}
    for name, array in _others(losses, source).items():
        if array.dims == tuple(along) and array.dtype.kind in "iuf":
            found["step" if name in STEP_NAMES else name] = np.asarray(array.data)
    if not along and (step := step_in(str(losses.name or ""))) is not None:
        found["step"] = np.array([step])
    return found


def _token_coordinates(losses: Any, source: Any, along: Sequence[Any]) -> dict[str, Any]:
    """Coordinates of tokens, of sequences and of positions, one value a token."""
    import xarray

    dims = tuple(dim for dim in losses.dims if dim not in along)
    shape = tuple(losses.sizes[dim] for dim in dims)
    found = {}
    for name, array in _others(losses, source).items():
        if not set(array.dims) <= set(dims) or not array.dims or array.dtype.kind not in "iuf":
            continue
        whole = array if array.dims == dims else xarray.broadcast(array, losses.isel(dict.fromkeys(along, 0)))[0]
        values = np.asarray(whole.transpose(*dims).data)
        found[name] = FlatColumn(name, [SourceArray(name, shape, values.dtype, values.__getitem__)])
    return found
