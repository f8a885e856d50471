"""Losses that are being collected: a column a checkpoint, on disk, until they are rewritten as trajectories.

They lie in the group ``collecting`` inside the output: `losses` (token, checkpoint) with chunks of one column, so that
a checkpoint is appended without touching those before, the token coordinates, and a `ledger` with one row a finished
checkpoint: its step, its other coordinates, and a checksum. The row is written after the column, so a column that a
killed run left half-written has none, and is written anew.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.sync import sync

from ..store import (
    ChangedError,
    Location,
    LossStore,
    StoreError,
    StoreNotFoundError,
    begin_losses,
    copy_tokens,
    read_rows_with_gaps,
)
from ..store.errors import writing
from ..store.fingerprint import differences
from .batches import RECORDED, BatchReader, Summary, changed_batches
from .output import COLUMNS, remove

KIND = "losses being collected"
_SHARD_TOKENS, _CHUNK_TOKENS = 2**20, 2**16


@dataclasses.dataclass
class Collection:
    """Columns on disk; the caller holds `writer_lock`.

    Attributes:
        location: of the output.
        group: `collecting/columns`.
        losses: (token, checkpoint), one column a chunk.
        entries: names of the values in a row of the ledger.
        rows: (checkpoints, entries) of the finished checkpoints.
    """

    location: Location
    group: zarr.Group
    losses: zarr.Array
    entries: tuple[str, ...]
    rows: np.ndarray

    @property
    def steps(self) -> list[float]:
        """Steps of the finished checkpoints."""
        return self.rows[:, 0].tolist()

    def append(self, pieces: Iterable[np.ndarray], values: Callable[[], Mapping[str, float]]) -> None:
        """Write one checkpoint: its losses, then the row that makes it count.

        Args:
            pieces: the losses of consecutive tokens, together of all.
            values: what the row holds, by name; called when ``pieces`` has ended.

        Raises:
            WriteError: the store does not take it.
        """
        column, start = len(self.rows), 0
        kept = "The checkpoints before are kept."
        with writing(self.location.name, f"checkpoint {column}", kept=kept):
            self.losses.resize((self.losses.shape[0], column + 1))
        for block in in_blocks(pieces, _SHARD_TOKENS):
            with writing(self.location.name, f"checkpoint {column}, tokens from {start}", kept=kept):
                self.losses[start : start + len(block), column] = block
            start += len(block)
        if start != self.losses.shape[0]:
            raise StoreError(
                f"batches: gave {start} tokens this time, expected {self.losses.shape[0]} as the first time"
            )
        found = values()
        self._record(np.array([found[name] for name in self.entries], np.float64))

    def append_store(self, store: LossStore) -> None:
        """Take up the columns of a loss store, so that more can follow."""
        self.losses.resize(store.losses.shape)
        for start in range(0, store.num_tokens, _SHARD_TOKENS):
            block = store.read(slice(start, start + _SHARD_TOKENS))
            for column in range(store.num_checkpoints):
                with writing(self.location.name, f"checkpoint {column}", kept="The loss store is as it was."):
                    self.losses[start : start + len(block), column] = block[:, column]
        for column in range(store.num_checkpoints):
            row = [store.checkpoint_coordinates[name][column] for name in self.entries]
            self._record(np.array(row, np.float64))

    def finish(self, attributes: Mapping[str, Any]) -> LossStore:
        """Write whole trajectories, then remove the columns; a killed run does it again."""
        if len(self.rows) != self.losses.shape[1]:
            self.losses.resize((self.losses.shape[0], len(self.rows)))
        columns = {name: self.rows[:, at] for at, name in enumerate(self.entries)}
        tokens = _tokens(self.group)
        unfinished = begin_losses(
            self.location,
            self.losses.shape,
            self.losses.dtype,
            checkpoints={name: _as_integers(column) for name, column in columns.items()},
            tokens={name: (array.dtype, {}) for name, array in tokens.items()},
            attributes=attributes,
        )
        copy_tokens(self.losses, tokens, unfinished)
        return unfinished.finish(tidy=lambda: remove(self.location))

    def _record(self, row: np.ndarray) -> None:
        column = len(self.rows)
        ledger = _array(self.group, "ledger")
        kept = "The checkpoints before are kept."
        with writing(self.location.name, f"the record of checkpoint {column}", kept=kept):
            ledger.resize((column + 1, len(self.entries) + 1))
            ledger[column] = [*row, _checksum(column, row)]
        self.rows = np.concatenate([self.rows, row[None]])


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
        changes = changed_batches(np.asarray(_array(found.group, "batches")[:]), given.summary.digests)
        changes += differences({name: stored.get(name) for name in described}, described)
    if changes:
        raise ChangedError(location.name, changes, "losses")
    if found is not None and len(found.rows):
        return found
    created = _create(location, given, described)
    if store is not None:
        created.append_store(store)
    return created


def in_blocks(pieces: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Pieces of any length as arrays of ``rows`` each, the last with what is left."""
    held, count = [], 0
    for piece in pieces:
        while len(piece):
            part, piece = piece[: rows - count], piece[rows - count :]
            held.append(part)
            count += len(part)
            if count == rows:
                yield np.concatenate(held)
                held, count = [], 0
    if held:
        yield np.concatenate(held)


def _resumed(location: Location, entries: tuple[str, ...]) -> Collection | None:
    try:
        group = _place(location).open_group("r+")
    except StoreNotFoundError:
        return None
    if group.attrs.get("tsl_kind") != KIND or "ledger" not in group:
        return None
    ledger = _array(group, "ledger")
    table, _ = read_rows_with_gaps(ledger, 0, ledger.shape[0])
    good = [_checksum(at, row[:-1]) == row[-1] for at, row in enumerate(table)]
    count = good.index(False) if False in good else len(good)
    return Collection(location, group, _array(group, "losses"), entries, table[:count, :-1])


def _create(location: Location, given: Given, described: Mapping[str, Any]) -> Collection:
    """An empty collection; its ledger, made last, stands for one that is ready."""
    place, entries, num_tokens = _place(location), tuple(described["entries"]), given.summary.tokens
    with writing(location.name, "the empty collection", kept="Nothing is collected yet."):
        sync(place.store.delete_dir(place.path))
        group = zarr.create_group(place.store, path=place.path, attributes={"tsl_kind": KIND, **described})
        losses = _over_tokens(group, "losses", (num_tokens, 0), given.dtype)
        group.create_array("batches", data=given.summary.digests, dimension_names=("batch", "entry"))
        for name in given.summary.names:
            array, start = _over_tokens(group, name, (num_tokens,), RECORDED[name]), 0
            for block in in_blocks((tokens.columns[name] for tokens in given.reader), _SHARD_TOKENS):
                array[start : start + len(block)] = block
                start += len(block)
        shape = (0, len(entries) + 1)
        group.create_array("ledger", shape=shape, chunks=(1, shape[1]), dtype="float64", fill_value=0, compressors=None)
    return Collection(location, group, losses, entries, np.empty((0, len(entries))))


def _over_tokens(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: np.dtype) -> zarr.Array:
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(_CHUNK_TOKENS, 1)[: len(shape)],
        shards=(_SHARD_TOKENS, 1)[: len(shape)],
        fill_value=np.nan if dtype.kind == "f" else 0,
        compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()],
        dimension_names=("token", "checkpoint")[: len(shape)],
    )


def _place(location: Location) -> Location:
    return Location(location.store, location.key(COLUMNS), location.name)


def _tokens(group: zarr.Group) -> dict[str, zarr.Array]:
    names = group.attrs["token_coordinates"]
    return {str(name): _array(group, str(name)) for name in names}  # type: ignore[union-attr]


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _as_integers(column: np.ndarray) -> np.ndarray:
    """Whole numbers as integers, as steps are."""
    whole = np.all(np.isfinite(column)) and np.all(column == np.round(column)) and np.all(np.abs(column) < 2**53)
    return column.astype(np.int64) if whole else column


def _checksum(column: int, row: np.ndarray) -> int:
    return 1 + zlib.crc32(np.array([column, *row], "<f8").tobytes())
