"""The schema of fit stores, checked: what their metadata say."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import zarr

from .dimension_checks import check_lengths
from .errors import Violation
from .ledger import ENTRIES
from .schema import CHECKPOINT, LEDGER, TOKEN, coordinates, dimensions, fit_array_kinds, noise_fault


def check_fits(attributes: Mapping[str, Any], arrays: Mapping[str, zarr.Array]) -> Iterator[Violation]:
    """What about the attributes and arrays of a fit store breaks the schema; nothing is read."""
    remake = "Restore its zarr.json, or fit again with overwrite=True."
    expected = {"family": str, "parameters": list, "axis": str, "scale": str, "options": dict, "input": dict}
    for name, kind in expected.items():
        if not isinstance(attributes.get(name), kind):
            value = attributes.get(name)
            yield Violation(f"attribute {name}", f"got {value!r}", f"a {kind.__name__}", remake)
    parameters = attributes.get("parameters")
    if isinstance(parameters, list) and not all(isinstance(name, str) for name in parameters):
        yield Violation("attribute parameters", f"got {parameters!r}", "a list of names", remake)
    names = [name for name in parameters if isinstance(name, str)] if isinstance(parameters, list) else []
    event = attributes.get("event", "absent")
    if event is not None and event not in names:
        yield Violation("attribute event", f"got {event!r}", "the name of a parameter, or null", remake)
    fault = noise_fault(attributes.get("noise", "absent"))
    if fault is not None:
        yield Violation("attribute noise", fault, "a noise model, or null", remake)
    kinds = fit_array_kinds(names, event)
    status = arrays.get("status")
    for name, kind in kinds.items():
        array = arrays.get(name)
        if array is None:
            yield Violation(name, "no such array", "an array (token)", remake)
        elif array.dtype.kind not in kind or dimensions(array) != (TOKEN,):
            yield Violation(
                name,
                f"dtype {array.dtype} over {list(dimensions(array))}",
                f"numbers of kind {kind!r} over ['token']",
                remake,
            )
    axis = attributes.get("axis")
    if isinstance(axis, str) and axis not in coordinates(arrays, CHECKPOINT):
        yield Violation(axis, "no such array", "the axis of the fits over ['checkpoint']", remake)
    if status is None or status.ndim != 1:
        return
    yield from _check_ledger(arrays.get(LEDGER), status, remake)
    for violation in check_lengths(arrays, {TOKEN: status.shape[0]}, "status"):
        yield dataclasses.replace(violation, cure=remake if violation.level == "error" else violation.cure)
    over_tokens = [array for name, array in coordinates(arrays, TOKEN).items() if name != LEDGER]
    for array in over_tokens:
        if (array.chunks, array.shards) != (status.chunks, status.shards):
            found = f"chunks {array.chunks}, shards {array.shards}"
            yield Violation(array.basename, found, f"{status.chunks}, {status.shards}, as status has", remake)


def _check_ledger(ledger: zarr.Array | None, status: zarr.Array, remake: str) -> Iterator[Violation]:
    block_tokens: Any = None if ledger is None else ledger.attrs.get("block_tokens")
    if ledger is None or ledger.shape[1:] != (len(ENTRIES),) or ledger.dtype != np.int64:
        found = "no such array" if ledger is None else f"shape {ledger.shape} of {ledger.dtype}"
        yield Violation(LEDGER, found, f"the record of finished blocks: (blocks, {len(ENTRIES)}) of int64", remake)
        return
    stored = (status.shards or status.chunks)[0]
    if type(block_tokens) is not int or block_tokens < 1 or block_tokens % stored:
        expected = f"a multiple of the {stored} tokens in a stored object"
        yield Violation(f"{LEDGER}, attribute block_tokens", f"got {block_tokens!r}", expected, remake)
        return
    blocks = -(-status.shape[0] // block_tokens)
    if ledger.shape[0] != blocks:
        yield Violation(LEDGER, f"{ledger.shape[0]} blocks of {block_tokens} tokens", f"{blocks}", remake)
        return
