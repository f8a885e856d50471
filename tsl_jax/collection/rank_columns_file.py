"""Where one rank appends its columns: found again, or begun with its first checkpoint."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from zarr.errors import ContainsGroupError

from ..store import ChangedError, Location, StoreError, StoreNotFoundError, read_rows
from ..store.attributes import as_json
from ..store.checkpoint_ledger import counting_columns, whole_rows
from ..store.errors import writing
from ..store.event_loop import wait_for
from ..store.fingerprint import differences
from ..store.own_files import refuse_foreign_files
from ..store.schema import BY_CHECKPOINT, FORMAT_VERSION
from .collection import Collection, array_of
from .opening import create_ledger, over_tokens
from .rank_rows import changed_tokens, digest_of


class RankColumnsFile:
    """The columns of one rank; the caller holds `writer_lock`.

    Args:
        place: of the group.
        dtype: of the losses.

    Raises:
        StoreError: its ledger is damaged, or its losses have another dtype.
    """

    def __init__(self, place: Location, dtype: np.dtype) -> None:
        self._place, self._dtype = place, dtype
        self._collection: Collection | None = None
        self._attributes: dict[str, Any] = {}
        try:
            group = place.open_group("r+")
        except StoreNotFoundError:
            return
        if "ledger" not in group:  # killed before the first checkpoint
            return
        self._attributes = group.attrs.asdict()
        losses, rows = array_of(group, "losses"), whole_rows(array_of(group, "ledger"), place.name)
        if losses.dtype != dtype:
            raise StoreError(f"dtype: got {dtype}, expected {losses.dtype}, as the checkpoints before have")
        self._collection = Collection(place, group, losses, tuple(self._attributes["entries"]), rows)

    @property
    def steps(self) -> list[float]:
        """Steps of the checkpoints that count, increasing."""
        return list(self._columns())

    def append(self, columns: Mapping[str, np.ndarray], losses: np.ndarray, values: Mapping[str, float]) -> None:
        """Write a checkpoint.

        Raises:
            ChangedError: its tokens, or the names of its coordinates, are others than those of before.
            WriteError: the store does not take it; those before are kept.
        """
        if self._collection is None:
            self._collection = self._create(columns, tuple(values))
        self.check_tokens(columns)
        known = self._collection.entries
        changes = differences({"coordinates": list(known)}, {"coordinates": list(values)})
        if set(known) != set(values):
            raise ChangedError(self._place.name, changes, "losses")
        self._collection.append([losses.astype(self._dtype)], lambda: values)

    def check_tokens(self, columns: Mapping[str, np.ndarray]) -> None:
        """Raise unless tokens are those of the checkpoints before.

        Raises:
            ChangedError: which differ.
        """
        assert self._collection is not None
        if digest_of(columns) != self._attributes["digest"]:
            group = self._collection.group
            names = [str(name) for name in self._attributes["token_coordinates"]]
            arrays = {name: array_of(group, name) for name in names}
            before = {name: read_rows(array, 0, array.shape[0]) for name, array in arrays.items()}
            raise ChangedError(self._place.name, changed_tokens(before, columns), "losses")

    def read(self, step: float) -> np.ndarray:
        """(rows,) losses of a checkpoint that is there."""
        assert self._collection is not None
        column, losses = self._columns()[step], self._collection.losses
        return read_rows(losses, 0, losses.shape[0], columns=slice(column, column + 1))[:, 0]

    def restart(self, start: float) -> None:
        """Set aside all checkpoints after a step; they stay where they are."""
        assert self._collection is not None
        found = [*self._attributes.get("restarts", ()), [len(self._collection.rows), start]]
        with writing(self._place.name, "that training went back", kept="Nothing was changed."):
            self._collection.group.attrs["restarts"] = found
        self._attributes["restarts"] = found

    def _columns(self) -> dict[float, int]:
        if self._collection is None:
            return {}
        steps = self._collection.steps
        return {steps[at]: at for at in counting_columns(steps, self._attributes.get("restarts", ()))}

    def _create(self, columns: Mapping[str, np.ndarray], entries: tuple[str, ...]) -> Collection:
        """An empty collection; its ledger, made last, stands for one that is ready."""
        place, size = self._place, len(columns["sequence"])
        self._attributes = {
            "digest": digest_of(columns),
            "token_coordinates": sorted(columns),
            "entries": list(entries),
        }
        with writing(place.name, "the first checkpoint", kept="Nothing is written yet."):
            wait_for(place.store.delete_dir(place.path))
            group = zarr.create_group(place.store, path=place.path, attributes=self._attributes, zarr_format=3)
            losses = over_tokens(group, "losses", (size, 0), self._dtype)
            for name, values in columns.items():
                over_tokens(group, name, (size,), values.dtype)[:] = values
            create_ledger(group, entries)
        return Collection(place, group, losses, entries, np.empty((0, len(entries))))


def open_root(location: Location, ranks: int, attributes: Mapping[str, Any]) -> None:
    """The group that all ranks write below: made by the first, whichever it is, and the same for all.

    Raises:
        StoreError: something else is there, or it was begun by another number of ranks.
    """
    own = {"tsl_kind": BY_CHECKPOINT, "tsl_version": FORMAT_VERSION, "ranks": ranks}
    try:
        found = location.open_group().attrs.asdict()
    except StoreNotFoundError:
        refuse_foreign_files(location)
        with writing(location.name, "the empty output", kept="Nothing is written yet."):
            try:
                zarr.create_group(
                    location.store, path=location.path, attributes={**as_json(attributes), **own}, zarr_format=3
                )
            except ContainsGroupError:  # another rank was faster
                found = location.open_group().attrs.asdict()
            else:
                return
    if found.get("tsl_kind") != BY_CHECKPOINT:
        raise StoreError(f"{location.name}: holds tsl_kind={found.get('tsl_kind')!r}; give another place")
    if found.get("ranks") != ranks:
        raise StoreError(
            f"ranks: got {ranks}, expected {found.get('ranks')}, as the checkpoints in {location.name} were "
            "written by. Gather the rows on as many processes, or write to another output"
        )
