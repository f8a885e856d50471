"""The two schemas on disk, checked: every violation at once, as data."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import zarr

from .errors import ChunkError, InvalidStoreError, Violation
from .ledger import ENTRIES, BlockState, read_records
from .location import Location, StoreLike, arrays_of, locate
from .reading import read_rows
from .schema import (
    CHECKPOINT,
    FIT_FORMAT_VERSION,
    FORMAT_VERSION,
    KNOWN_AXES,
    LEDGER,
    LOSS_DTYPES,
    TOKEN,
    coordinates,
    dimensions,
    first_fall,
    fit_array_kinds,
    increases,
)

_BIG_CHUNK = 2**28
_OLD_FITS = "Fit again with overwrite=True: format 1 has neither the noise of a token nor probabilities."


def validate(store: StoreLike) -> list[Violation]:
    """Everything about a loss or fit store that breaks its schema, errors before notes.

    Args:
        store: whatever `tsl_jax.store.locate` takes.

    Returns:
        Violations, empty for a store that is as it should be; notes alone do not keep a store from opening.

    Raises:
        StoreNotFoundError: there is no Zarr group to check.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.store import create_losses
        >>> memory = zarr.storage.MemoryStore()
        >>> _ = create_losses(memory, np.ones((4, 3), "float16"), checkpoints={"step": [0, 10, 20]})
        >>> validate(memory)
        []
    """
    group = locate(store).open_group()
    return check(group, kind=group.attrs.get("tsl_kind"))


def check(group: zarr.Group, kind: Any) -> list[Violation]:
    """`validate` for an open group that should be of ``kind``."""
    if kind not in ("losses", "fits"):
        return [
            Violation(
                "attribute tsl_kind",
                f"got {kind!r}",
                "'losses' or 'fits'",
                "Set the group attribute: zarr.open_group(store, mode='r+').attrs['tsl_kind'] = 'losses'.",
            )
        ]
    other = group.attrs.get("tsl_kind")
    if other != kind and other in ("losses", "fits"):  # a sound store in the wrong place: nothing else is of use
        return [Violation("attribute tsl_kind", f"got {other!r}", repr(kind), f"This is a store of {other}.")]
    arrays = arrays_of(group)
    found = [*_check_group(group, kind)]
    if kind == "fits" and found:  # of another format: what it lacks needs no list
        return found
    found += _check_losses(arrays) if kind == "losses" else _check_fits(group.attrs.asdict(), arrays)
    return sorted(found, key=lambda violation: violation.level != "error")


def raise_if_invalid(location: Location, group: zarr.Group, kind: str) -> None:
    """Raise one error that lists every violation."""
    errors = [violation for violation in check(group, kind) if violation.level == "error"]
    if errors:
        raise InvalidStoreError(location.name, kind, errors)


def _check_group(group: zarr.Group, kind: str) -> Iterator[Violation]:
    if group.metadata.zarr_format != 3:
        yield Violation(
            "group",
            f"Zarr format {group.metadata.zarr_format}",
            "format 3",
            "Write the arrays anew with tsl_jax.store.create_losses.",
        )
    if group.attrs.get("tsl_kind") != kind:
        other = group.attrs.get("tsl_kind")
        yield Violation("attribute tsl_kind", f"got {other!r}", repr(kind), "Give a store that tsl_jax wrote.")
    version, ours = group.attrs.get("tsl_version"), FORMAT_VERSION if kind == "losses" else FIT_FORMAT_VERSION
    if version != ours:
        newer = isinstance(version, int) and version > ours
        cure = f"Set the group attribute tsl_version = {ours}." if kind == "losses" else _OLD_FITS
        yield Violation(
            "attribute tsl_version", f"got {version!r}", str(ours), "Upgrade tsl_jax to read it." if newer else cure
        )


def _check_losses(arrays: Mapping[str, zarr.Array]) -> Iterator[Violation]:
    losses = arrays.get("losses")
    if losses is None:
        names = ", ".join(sorted(arrays)) or "none"
        yield Violation(
            "losses",
            f"no such array (arrays: {names})",
            "an array (token, checkpoint)",
            "Write it with tsl_jax.store.create_losses.",
        )
        return
    if str(losses.dtype) not in LOSS_DTYPES:
        yield Violation(
            "losses",
            f"dtype {losses.dtype}",
            " or ".join(LOSS_DTYPES),
            "Write the losses in nat as floating-point numbers, NaN where not measured.",
        )
    if losses.ndim != 2:
        yield Violation(
            "losses",
            f"shape {losses.shape}",
            "two dimensions (token, checkpoint)",
            "Flatten sequences and positions to one token dimension.",
        )
        return
    if dimensions(losses) != (TOKEN, CHECKPOINT):
        yield Violation(
            "losses",
            f"dimension_names {list(dimensions(losses))}",
            "['token', 'checkpoint']",
            "Write the array with dimension_names=('token', 'checkpoint').",
        )
    yield from _check_lengths(arrays, {TOKEN: losses.shape[0], CHECKPOINT: losses.shape[1]})
    yield from _check_axes(arrays, losses.shape[1])
    yield from _check_layout(arrays, losses)


def _check_lengths(arrays: Mapping[str, zarr.Array], sizes: Mapping[str, int]) -> Iterator[Violation]:
    for name, array in sorted(arrays.items()):
        names = dimensions(array)
        if not names and array.ndim:
            yield Violation(
                name,
                "no dimension_names",
                "names of its dimensions",
                "Write the array with dimension_names.",
                "error" if name in KNOWN_AXES else "note",
            )
        for dimension, length in zip(names, array.shape, strict=False):
            if dimension is not None and length != sizes.get(dimension, length):
                yield Violation(
                    name,
                    f"{length} values over {dimension!r}",
                    f"{sizes[dimension]}, as losses has",
                    "Write one value a " + str(dimension) + ".",
                )
        if names in ((TOKEN,), (CHECKPOINT,)) and array.dtype.kind not in "iufb":
            yield Violation(
                name,
                f"dtype {array.dtype}",
                "numbers",
                "It is not copied to fit stores; store integer codes, and the names as a group attribute.",
                "note",
            )


def _check_axes(arrays: Mapping[str, zarr.Array], num_checkpoints: int) -> Iterator[Violation]:
    if not (set(KNOWN_AXES) & set(arrays)) and not any(
        _is_axis(array) for array in coordinates(arrays, CHECKPOINT).values()
    ):
        yield Violation(
            "step",
            "no such array, nor another that increases over 'checkpoint'",
            f"the training step of each of the {num_checkpoints} checkpoints",
            "Write a one-dimensional array 'step' with dimension_names=('checkpoint',).",
        )
    for name in KNOWN_AXES:
        array = arrays.get(name)
        if array is None:
            continue
        if array.dtype.kind not in "iuf" or array.ndim != 1:
            yield Violation(
                name,
                f"{array.ndim}-d of dtype {array.dtype}",
                "one real number a checkpoint",
                "Write numbers.",
            )
            continue
        try:
            values = read_rows(array, 0, array.shape[0])
        except ChunkError as error:
            yield Violation(name, f"cannot be read: {error.bad.reason}", "its values", "Restore it.")
            continue
        if name == "lr_sum" and np.all(np.isfinite(values)) and np.all(values[1:] >= values[:-1]):
            continue  # a learning rate of 0 between two checkpoints: no axis, but no error
        if not increases(values):
            yield Violation(
                name,
                f"does not increase: {first_fall(values)}",
                "finite, strictly increasing values",
                "Sort the checkpoints and remove repeated ones.",
            )


def _is_axis(array: zarr.Array) -> bool:
    try:
        return increases(read_rows(array, 0, array.shape[0]))
    except ChunkError:
        return False


def _check_layout(arrays: Mapping[str, zarr.Array], losses: zarr.Array) -> Iterator[Violation]:
    rows, columns = losses.chunks
    if columns < losses.shape[1]:
        yield Violation(
            "losses",
            f"chunks {losses.chunks} split trajectories",
            f"chunks of (many tokens, all {losses.shape[1]} checkpoints)",
            "Reading is slow; rewrite it with tsl_jax.store.create_losses.",
            "note",
        )
    if losses.dtype.kind == "f" and not np.isnan(losses.fill_value):
        yield Violation(
            "losses",
            f"fill value {losses.fill_value}",
            "NaN",
            "A chunk that is not stored, or holds nothing else, counts as unreadable.",
            "note",
        )
    for name, array in [("losses", losses), *coordinates(arrays, TOKEN).items()]:
        decoded = int(np.prod(array.chunks)) * array.dtype.itemsize
        if min(rows if name == "losses" else array.chunks[0], array.shape[0]) and decoded > _BIG_CHUNK:
            yield Violation(
                name,
                f"chunks {array.chunks} take {decoded / 2**20:.0f} MiB each",
                f"at most {_BIG_CHUNK / 2**20:.0f} MiB",
                "Reading takes more memory than planned; rewrite it with smaller chunks.",
                "note",
            )


def _check_fits(attributes: Mapping[str, Any], arrays: Mapping[str, zarr.Array]) -> Iterator[Violation]:
    remake = "Fit again with overwrite=True."
    expected = {"family": str, "parameters": list, "axis": str, "scale": str, "options": dict, "input": dict}
    for name, kind in expected.items():
        if not isinstance(attributes.get(name), kind):
            value = attributes.get(name)
            yield Violation(f"attribute {name}", f"got {value!r}", f"a {kind.__name__}", remake)
    parameters = attributes.get("parameters")
    names = parameters if isinstance(parameters, list) else []
    event = attributes.get("event", "absent")
    if event is not None and event not in names:
        yield Violation("attribute event", f"got {event!r}", "the name of a parameter, or null", remake)
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
    yield from _check_ledger(arrays.get(LEDGER), remake)
    axis = attributes.get("axis")
    if isinstance(axis, str) and axis not in coordinates(arrays, CHECKPOINT):
        yield Violation(axis, "no such array", "the axis of the fits over ['checkpoint']", remake)
    if status is not None and status.ndim == 1:
        yield from _check_lengths(arrays, {TOKEN: status.shape[0]})


def _check_ledger(ledger: zarr.Array | None, remake: str) -> Iterator[Violation]:
    if ledger is None or ledger.shape[1:] != (len(ENTRIES),) or ledger.attrs.get("block_tokens") is None:
        found = "no such array" if ledger is None else f"shape {ledger.shape}, attributes {sorted(ledger.attrs)}"
        expected = f"the record of finished blocks: (blocks, {len(ENTRIES)}) with the attribute block_tokens"
        yield Violation(LEDGER, found, expected, remake)
        return
    table, damaged = read_records(ledger)
    yield from damaged
    finished = int(np.sum(table[:, 0] == BlockState.FINISHED))
    if finished + len(damaged) < len(table):
        yield Violation(
            LEDGER,
            f"{finished} of {len(table)} blocks finished",
            "all blocks",
            "Run the same command again to go on.",
            "note",
        )
