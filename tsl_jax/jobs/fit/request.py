"""What a fit of a store is asked for, as data that can be sent to another process."""

import contextlib
import dataclasses
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ...curves import Family
from ...fitting import FitOptions, NoiseModel
from ...store import LossStore, StoreError, StoreLike, StoreNotFoundError, open_losses
from ...store.presence import Objects, list_objects
from ...store.schema import MissingChunks
from ...store.urls import is_url


@dataclasses.dataclass(frozen=True)
class FitRequest:
    """The arguments of `fit_store` that decide what is written; see there."""

    losses: StoreLike
    fits: StoreLike
    family: Family
    axis: str = "step"
    options: FitOptions = FitOptions()
    noise: Literal["estimate"] | NoiseModel | None = "estimate"
    memory: int | None = None
    on_bad_chunk: Literal["stop", "skip"] = "stop"
    missing_chunks: MissingChunks = "refuse"

    def __post_init__(self) -> None:
        if not isinstance(self.family, Family):
            raise TypeError(f"family: got {self.family!r}, expected a Family such as tsl_jax.Sigmoid()")
        if not isinstance(self.options, FitOptions):
            raise TypeError(f"options: got {self.options!r}, expected tsl_jax.FitOptions(...)")
        if self.on_bad_chunk not in ("stop", "skip"):
            raise ValueError(f"on_bad_chunk: got {self.on_bad_chunk!r}, expected 'stop' or 'skip'")
        if self.memory is not None and self.memory <= 0:
            raise ValueError(f"memory: got {self.memory!r}, expected a positive number of bytes")

    def open_losses(self) -> tuple[LossStore, Objects | None]:
        """The losses, none of them lost unless bad chunks are skipped, and the listing of their store's objects."""
        source = open_losses(self.losses, missing_chunks=self.missing_chunks)
        objects = list_objects(source.location.store, source.location.path)
        if self.on_bad_chunk == "stop":
            source.raise_if_lost(objects)
        return source, objects

    def as_sent(self) -> "FitRequest":
        """The same for another process: paths from the root on.

        Raises:
            StoreError: a store or the family cannot be sent.
        """
        request = dataclasses.replace(
            self, losses=_from_anywhere("losses", self.losses), fits=_from_anywhere("fits", self.fits)
        )
        for field in dataclasses.fields(request):
            _check_sent(field.name, getattr(request, field.name))
        return request


@contextlib.contextmanager
def seen_from_here() -> Iterator[None]:
    """Say what it means when a worker finds no store."""
    try:
        yield
    except StoreNotFoundError as error:
        raise StoreNotFoundError(
            f"{error} This worker does not see it: give a path on a file system that all workers share, or a URL."
        ) from error


def _from_anywhere(name: str, store: StoreLike) -> StoreLike:
    """A store as another process finds it."""
    if not isinstance(store, str | os.PathLike):
        raise StoreError(
            f"{name}: got a {type(store).__name__}, which other processes do not see; give a path on a file "
            "system that all of them share, or a URL"
        )
    text = os.fspath(store)
    return text if is_url(text) else str(Path(text).expanduser().absolute())


def _check_sent(name: str, value: Any) -> None:
    try:
        _pickle().dumps(value)
    except Exception as error:  # whatever an object of the user's raises
        raise StoreError(
            f"{name}: {value!r} cannot be sent to workers ({type(error).__name__}: {error}). Define it in a module "
            "that they can import."
        ) from error


def _pickle() -> Any:
    """What Dask sends things with, which takes classes of ``__main__`` along; Python's own where it is not there."""
    try:
        import cloudpickle
    except ImportError:
        return pickle
    return cloudpickle
