"""The two schemas on disk, checked: every violation at once, as data."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import zarr

from .axis_checks import check_axes
from .dimension_checks import check_lengths
from .encodings import check_encoding
from .errors import InvalidStoreError, Violation
from .fit_validation import check_fits
from .limits import check_sizes
from .location import Location, arrays_of
from .reading import Absent
from .schema import (
    CHECKPOINT,
    LOSS_DTYPES,
    READABLE_VERSIONS,
    TOKEN,
    coordinates,
    dimensions,
)

_BIG_CHUNK = 2**28
_OLD_FITS = "Fit again with overwrite=True: earlier formats say less of a token, or count other things."


def check(group: zarr.Group, kind: Any, absent: Absent = "refuse", *, encoded: bool = False) -> list[Violation]:
    """What the metadata and the axes of an open group, that should be of ``kind``, break of the schema.

    Args:
        group: of a loss or fit store.
        kind: ``"losses"`` or ``"fits"``.
        absent: what a chunk of an axis is that is not stored.
        encoded: whether numbers may be stored in the ways of netCDF, as the caller decodes them.
    """
    return _check_kind(group, kind) or _check(group, arrays_of(group), kind, absent, encoded, {})


def _check_kind(group: zarr.Group, kind: Any) -> list[Violation]:
    """Whether a group is said to be of ``kind``, or of none at all: else nothing more is of use."""
    if kind not in ("losses", "fits"):
        return [
            Violation(
                "attribute tsl_kind",
                f"got {kind!r}",
                "'losses' or 'fits'",
                "Write losses of another layout into a loss store with tsl import. If the layout is right, set the "
                "group attribute: zarr.open_group(store, mode='r+').attrs['tsl_kind'] = 'losses'.",
            )
        ]
    other = group.attrs.get("tsl_kind")
    if other != kind and other in ("losses", "fits"):  # a sound store in the wrong place: nothing else is of use
        return [
            Violation(
                "attribute tsl_kind", f"got {other!r}", repr(kind), f"This is a store of {other}: give one of {kind}."
            )
        ]
    return []


def _check(
    group: zarr.Group,
    arrays: Mapping[str, zarr.Array],
    kind: Any,
    absent: Absent,
    encoded: bool,
    axes: dict[str, np.ndarray],
) -> list[Violation]:
    too_large = list(check_sizes(arrays))
    if too_large:  # not even an axis is read
        return too_large
    found = [*_check_group(group, kind)]
    if kind == "fits" and found:  # of another format: what it lacks needs no list
        return found
    is_losses = kind == "losses"
    found += _check_losses(arrays, absent, encoded, axes) if is_losses else check_fits(group.attrs.asdict(), arrays)
    found += _check_named(group.attrs.get("coordinates"), arrays, kind)
    return sorted(found, key=lambda violation: violation.level != "error")


#: Arrays that have all dimensions of a store.
_MAIN = {"losses": ("losses",), "fits": ("status",)}


def _check_named(said: Any, arrays: Mapping[str, zarr.Array], kind: str) -> Iterator[Violation]:
    """Coordinates that the group names and that are gone, or are over a dimension that no other array has."""
    known = {dimension for name, array in arrays.items() for dimension in dimensions(array) if name in _MAIN[kind]}
    sizes = {size for name in _MAIN[kind] if name in arrays for size in arrays[name].shape}
    cure = "Restore it, or take its name out of the attribute if it is not wanted."
    cure = "Restore it, or fit again with overwrite=True." if kind == "fits" else cure
    for name in said.split() if isinstance(said, str) else ():
        array = arrays.get(name)
        if array is None:
            yield Violation(name, "no such array", "an array, as the attribute coordinates names it", cure)
        elif (
            array.ndim == 1 and array.shape[0] in sizes and known and not set(dimensions(array)) & {*known, CHECKPOINT}
        ):
            found = f"dimension_names {list(dimensions(array))}"
            yield Violation(name, found, f"one of {sorted(map(str, known))}, as a coordinate", cure)


def raise_if_invalid(
    location: Location,
    group: zarr.Group,
    kind: str,
    absent: Absent = "refuse",
    *,
    encoded: bool = False,
    axes: dict[str, np.ndarray] | None = None,
) -> dict[str, zarr.Array]:
    """The arrays of a group by name, or one error that lists every violation; see `check`.

    Args:
        location: of the group.
        group: open.
        kind: see `check`.
        absent: see `check`.
        encoded: see `check`.
        axes: where the stored values of checkpoint coordinates are kept, of losses, which are read to be checked.
    """
    found, arrays = _check_kind(group, kind), dict[str, zarr.Array]()
    if not found:
        arrays = arrays_of(group)
        found = _check(group, arrays, kind, absent, encoded, {} if axes is None else axes)
    errors = [violation for violation in found if violation.level == "error"]
    if errors:
        raise InvalidStoreError(location.name, kind, errors)
    return arrays


def _check_group(group: zarr.Group, kind: str) -> Iterator[Violation]:
    if group.metadata.zarr_format != 3:
        yield Violation(
            "group",
            f"Zarr format {group.metadata.zarr_format}",
            "format 3",
            "Write it anew with tsl import." if kind == "losses" else "Fit again with overwrite=True.",
        )
    if group.attrs.get("tsl_kind") != kind:
        other = group.attrs.get("tsl_kind")
        yield Violation("attribute tsl_kind", f"got {other!r}", repr(kind), "Give a store that tsl_jax wrote.")
    version = group.attrs.get("tsl_version")
    known = READABLE_VERSIONS[kind]
    if type(version) is not int or version not in known:
        newer = type(version) is int and version > max(known)
        cure = f"Set the group attribute tsl_version = {max(known)}."
        if kind == "fits":
            damaged = "Restore its zarr.json, or fit again with overwrite=True."
            cure = _OLD_FITS if version in range(1, max(known)) else damaged
        cure = "Upgrade tsl_jax to read it." if newer else cure
        yield Violation("attribute tsl_version", f"got {version!r}", " or ".join(map(str, known)), cure)


def _check_losses(
    arrays: Mapping[str, zarr.Array], absent: Absent, encoded: bool, axes: dict[str, np.ndarray]
) -> Iterator[Violation]:
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
            "Write the losses in nat as floating-point numbers, NaN where not measured; tsl import decodes packed.",
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
            "Write it anew with tsl import, or the array with dimension_names=('token', 'checkpoint').",
        )
    yield from check_lengths(arrays, {TOKEN: losses.shape[0], CHECKPOINT: losses.shape[1]})
    columns = {**coordinates(arrays, TOKEN), **coordinates(arrays, CHECKPOINT)}
    for name, array in {"losses": losses, **columns}.items() if not encoded else ():
        if name != "losses" or str(losses.dtype) in LOSS_DTYPES:  # else that is said, and more than tsl rechunk mends
            yield from check_encoding(name, array)
    yield from check_axes(arrays, losses.shape[1], absent, axes)
    yield from _check_layout(arrays, losses)


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
            "A chunk that is not stored counts as unreadable.",
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
