"""A loss store that is being filled: no reader takes it for one before it is whole."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import zarr

from .arrays import WholeWrites, create_array, storing_all
from .attributes import as_json
from .errors import StoreError, StoreNotFoundError, writing
from .event_loop import wait_for
from .location import Location
from .loss_creation import COORDINATE_CHUNK, create_losses_array, rows_of
from .losses import LossStore, open_losses_at
from .own_files import refuse_foreign_files
from .schema import CHECKPOINT, FORMAT_VERSION, LOSS_DTYPES, TOKEN, UNFINISHED

#: Attribute of an unfinished store: tokens from the first on that are written.
DONE = "tokens_done"
BLOCK_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class UnfinishedLosses:
    """A loss store that is being filled; it opens as one after `finish` alone.

    Attributes:
        location: where it is.
        group: its group.
        losses: (token, checkpoint), to be written in whole shards.
        tokens: token coordinates by name, to be written.
        attributes: what the group will say.
    """

    location: Location
    group: zarr.Group
    losses: zarr.Array
    tokens: Mapping[str, zarr.Array]
    attributes: Mapping[str, Any]

    @property
    def shard_tokens(self) -> int:
        """Tokens in a shard."""
        return (self.losses.shards or self.losses.chunks)[0]

    def blocks(self, memory: int = BLOCK_BYTES, first: int = 0) -> Iterator[tuple[int, int]]:
        """``(start, stop)`` of blocks of whole shards, from a shard's first token on."""
        num_tokens, row = self.losses.shape[0], max(1, self.losses.shape[1]) * self.losses.dtype.itemsize
        rows = max(1, memory // row // self.shard_tokens) * self.shard_tokens
        yield from ((start, min(start + rows, num_tokens)) for start in range(first, num_tokens, rows))

    def write(self, start: int, losses: np.ndarray, tokens: Mapping[str, np.ndarray]) -> None:
        """Write consecutive tokens: their losses (tokens, checkpoints), and coordinates by name.

        Raises:
            StoreError: a loss is beyond what the dtype of the store holds.
            WriteError: the store did not take them.
        """
        stop = start + len(losses)
        place = f"tokens {start} to {stop - 1}"
        narrowed = as_dtype(losses, self.losses.dtype)
        lost = np.argwhere(np.isinf(narrowed) & np.isfinite(losses)) if narrowed.dtype != losses.dtype else []
        if len(lost):
            token, checkpoint = lost[0]
            raise StoreError(
                f"losses: token {start + token} has {losses[token, checkpoint]:g} at checkpoint {checkpoint}, more "
                f"than {narrowed.dtype} holds ({np.finfo(narrowed.dtype).max:g}); write a wider dtype, or set it to NaN"
            )
        with writing(self.location.name, place, kept="The store is not complete.", again="run the same command again"):
            whole = WholeWrites(self.losses.store)
            storing_all(self.losses, whole)[start:stop] = narrowed
            whole.settle()
        self.write_coordinates(start, stop, tokens)

    def write_coordinates(self, start: int, stop: int, tokens: Mapping[str, np.ndarray]) -> None:
        """Write coordinates by name of consecutive tokens; their chunks hold those of many blocks.

        Raises:
            WriteError: the store did not take them.
        """
        place = f"coordinates of tokens {start} to {stop - 1}"
        with writing(self.location.name, place, kept="The store is not complete.", again="run the same command again"):
            for name, values in tokens.items():
                self.tokens[name][start:stop] = values

    def record(self, done: int) -> None:
        """Note that the tokens before ``done``, whole shards, are written: `resumed_losses` goes on from there."""
        with writing(self.location.name, "how far it is", kept="The store is not complete."):
            self.group.attrs[DONE] = done

    def finish(self, tidy: Callable[[], None] | None = None) -> LossStore:
        """Call it a loss store, and open it; ``tidy`` runs once it is one."""
        with writing(self.location.name, "its attributes", again="run the same command again"):
            self.group.attrs.put(dict(self.attributes))
            if tidy is not None:
                tidy()
            self.location.consolidate()
        return open_losses_at(self.location, self.location.open_group("r+"))


@dataclasses.dataclass(frozen=True)
class LossPlan:
    """What a loss store will be.

    Attributes:
        shape: (tokens, checkpoints).
        dtype: of the losses.
        checkpoints: coordinates by name, (checkpoints,).
        tokens: dtype and attributes of each token coordinate by name.
        attributes: what the group says when it is finished.
        rows: tokens in a chunk and in a shard; see `create_losses`.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    checkpoints: Mapping[str, np.ndarray]
    tokens: Mapping[str, tuple[np.dtype, Mapping[str, Any]]]
    attributes: Mapping[str, Any]
    rows: tuple[int | None, int | None] = (None, None)

    @property
    def chunk_and_shard(self) -> tuple[int, int]:
        """Tokens in a chunk and in a shard."""
        return rows_of(self.shape, self.dtype.itemsize, *self.rows)

    @property
    def all_attributes(self) -> dict[str, Any]:
        """Those of the group, the schema's own among them."""
        names = " ".join([*self.checkpoints, *self.tokens])
        return {**as_json(self.attributes), "tsl_kind": "losses", "tsl_version": FORMAT_VERSION, "coordinates": names}


def begin_losses(location: Location, plan: LossPlan) -> UnfinishedLosses:
    """Make the arrays of a loss store that does not open as one yet; an unfinished one that is there is replaced.

    Args:
        location: where; no other store may be there.
        plan: what it will be.
    """
    num_tokens = plan.shape[0]
    chunk, shard = plan.chunk_and_shard
    with writing(location.name, "the empty loss store", kept="Nothing is lost.", again="run the same command again"):
        group = zarr.open_group(location.store, path=location.path, mode="a", use_consolidated=False, zarr_format=3)
        group.attrs.put({"tsl_kind": UNFINISHED})
        _remove_arrays(location)
        losses = create_losses_array(group, plan.shape, plan.dtype, chunk, shard)
        for name, column in plan.checkpoints.items():
            create_array(group, name, values=np.asarray(column), dimension_names=(CHECKPOINT,))
        size = max(1, min(COORDINATE_CHUNK // shard * shard or shard, num_tokens))
        columns = {
            name: create_array(
                group,
                name,
                shape=(num_tokens,),
                dtype=kind,
                chunks=(size,),
                dimension_names=(TOKEN,),
                attributes=dict(kept),
            )
            for name, (kind, kept) in plan.tokens.items()
        }
    return UnfinishedLosses(location, group, losses, columns, plan.all_attributes)


def _remove_arrays(location: Location) -> None:
    """Delete all below a group but groups, such as that of the lock; a killed run may have left half of an array."""
    refuse_foreign_files(location)
    for name in location.names():
        place = Location(location.store, location.key(name), location.name)
        with contextlib.suppress(StoreError):
            place.open_group()
            continue
        if name != "zarr.json":
            wait_for(location.store.delete_dir(place.path))


def as_dtype(losses: np.ndarray, dtype: Any) -> np.ndarray:
    """Losses in another dtype; inf where it does not hold them."""
    with np.errstate(over="ignore"):
        return losses.astype(dtype, copy=False)


def checked_dtype(dtype: Any) -> np.dtype:
    """A dtype that losses may have.

    Raises:
        StoreError: it is another.
    """
    try:
        known = np.dtype(dtype)
    except TypeError:
        known = dtype
    if str(known) not in LOSS_DTYPES:
        raise StoreError(f"dtype: got {known}, expected {' or '.join(LOSS_DTYPES)}; name one of them")
    return np.dtype(known)


def refuse_present(location: Location, place: str = "") -> None:
    """Raise if the place of a new loss store holds any but an unfinished one; ``place``: where a run holds its lock.

    Raises:
        StoreError: something is there.
    """
    try:
        attributes = location.open_group().attrs.asdict()
    except StoreNotFoundError:
        refuse_foreign_files(location)
        return
    kind = attributes.get("tsl_kind")
    if not attributes and refuse_foreign_files(location) <= {"zarr.json", place}:
        return  # all that a run wrote that was killed at once
    if kind != UNFINISHED:
        raise StoreError(f"{location.name}: holds tsl_kind={kind!r} already; delete it or give another place")


@contextlib.contextmanager
def being_filled(store: LossStore) -> Iterator[None]:
    """Let no reader take an empty loss store for one until the block has filled it: see `create_losses`.

    Raises:
        WriteError: the store does not take the note.
    """
    group = store.location.open_group("r+")
    attributes: dict[str, Any] = group.attrs.asdict()
    again = "write it with overwrite=True"
    with writing(store.name, "that it is not finished", kept="It is not complete.", again=again):
        group.attrs.put({"tsl_kind": UNFINISHED})
    yield
    with writing(store.name, "that it is finished", kept="It is not complete.", again=again):
        group.attrs.put(attributes)
        store.location.consolidate()


def remove_group(location: Location) -> None:
    """Delete a group and all that is in it."""
    with writing(location.name, "the end of the run", again="run the same command again"):
        wait_for(location.store.delete_dir(location.path))
