"""Begins a collection, or finds the one that an earlier run left."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from ..store import ChangedError, Location, LossStore, StoreNotFoundError, list_objects
from ..store.arrays import bitshuffled, create_array
from ..store.checkpoint_ledger import finished_rows
from ..store.errors import writing
from ..store.event_loop import wait_for
from ..store.fingerprint import differences
from ..store.presence import chunk_keys
from .batches import RECORDED, BatchReader, Summary, changed_batches
from .collection import SHARD_TOKENS, Collection, array_of, in_blocks
from .output import COLUMNS

KIND = "losses being collected"
_CHUNK_TOKENS = 2**16


@dataclasses.dataclass(frozen=True)
class Given:
    """What a resumed run must be given again.

    Attributes:
        reader: the batches.
        summary: of the batches.
        dtype: of the losses.
        identity: what else must be the same.
    """

    reader: BatchReader
    summary: Summary
    dtype: np.dtype
    identity: Mapping[str, Any]

    def described(self) -> dict[str, Any]:
        """As the attributes of a collection."""
        names = sorted(self.summary.names)
        return {"dtype": str(self.dtype), "token_coordinates": names, "identity": dict(self.identity)}


def open_collection(
    location: Location, given: Given, entries: tuple[str, ...], store: LossStore | None = None
) -> Collection:
    """The collection to go on with; without a finished checkpoint it is begun anew.

    Args:
        location: of the output.
        given: what is collected.
        entries: what is recorded of a checkpoint, by name.
        store: the finished loss store at the output, whose checkpoints a new collection begins with.

    Raises:
        ChangedError: it was begun from other batches, or with other options.
    """
    described = {**given.described(), "entries": list(entries)}
    found, changes = _resumed(location, entries), []
    if store is not None:
        known = {"dtype": str(store.losses.dtype), "token_coordinates": sorted(store.token_coordinates)}
        known["entries"] = sorted(store.checkpoint_coordinates)
        now = described | {"entries": sorted(entries)}
        changes = differences(known, {name: now[name] for name in known})
        found = found if found is not None and len(found.rows) > store.num_checkpoints else None
    if found is not None and len(found.rows):
        stored = found.group.attrs.asdict()
        changes = changed_batches(np.asarray(array_of(found.group, "batches")[:]), given.summary.digests)
        changes += differences({name: stored.get(name) for name in described}, described)
    if changes:
        raise ChangedError(location.name, changes, "losses")
    if found is not None and len(found.rows):
        return found
    created = _create(location, given, described)
    if store is not None:
        created.append_store(store)
    return created


def _resumed(location: Location, entries: tuple[str, ...]) -> Collection | None:
    try:
        group = _place(location).open_group("r+")
    except StoreNotFoundError:
        return None
    if group.attrs.get("tsl_kind") != KIND or "ledger" not in group:
        return None
    rows = finished_rows(array_of(group, "ledger"))
    losses = array_of(group, "losses")
    count = min([len(rows), *_lost_columns(losses)])
    return Collection(location, group, losses, entries, rows[:count])


def _lost_columns(losses: zarr.Array) -> list[int]:
    """Checkpoints of which a stored object is absent or empty: they are collected again."""
    objects = list_objects(losses.store, losses.path)
    if objects is None:
        return []
    keys = chunk_keys(losses, 0, losses.shape[0])
    return [column for key, _, _, column in keys if key not in objects or objects[key].size == 0]


def _create(location: Location, given: Given, described: Mapping[str, Any]) -> Collection:
    """An empty collection; its ledger, made last, stands for one that is ready."""
    place, entries, num_tokens = _place(location), tuple(described["entries"]), given.summary.tokens
    with writing(location.name, "the empty collection", kept="Nothing is collected yet."):
        wait_for(place.store.delete_dir(place.path))
        group = zarr.create_group(
            place.store, path=place.path, attributes={"tsl_kind": KIND, **described}, zarr_format=3
        )
        losses = over_tokens(group, "losses", (num_tokens, 0), given.dtype)
        create_array(group, "batches", values=given.summary.digests, dimension_names=("batch", "entry"))
        for name in given.summary.names:
            array, start = over_tokens(group, name, (num_tokens,), RECORDED[name]), 0
            for block in in_blocks((tokens.columns[name] for tokens in given.reader), SHARD_TOKENS):
                array[start : start + len(block)] = block
                start += len(block)
        create_ledger(group, entries)
    return Collection(location, group, losses, entries, np.empty((0, len(entries))))


def create_ledger(group: zarr.Group, entries: tuple[str, ...]) -> None:
    """An empty ledger: a row a checkpoint, of its entries and their checksum."""
    shape = (0, len(entries) + 1)
    own = {"compressors": [Crc32cCodec()], "chunks": (1, shape[1]), "fill_value": 0}
    create_array(group, "ledger", shape=shape, dtype="float64", **own)


def over_tokens(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: np.dtype) -> zarr.Array:
    """An array (token,) or (token, checkpoint) whose chunks hold one checkpoint."""
    return create_array(
        group,
        name,
        shape=shape,
        dtype=dtype,
        chunks=(_CHUNK_TOKENS, 1)[: len(shape)],
        shards=(SHARD_TOKENS, 1)[: len(shape)],
        fill_value=np.nan if dtype.kind == "f" else 0,
        compressors=bitshuffled(1),
        dimension_names=("token", "checkpoint")[: len(shape)],
    )


def _place(location: Location) -> Location:
    return Location(location.store, location.key(COLUMNS), location.name)
