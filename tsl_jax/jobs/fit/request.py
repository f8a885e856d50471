"""What a fit of a store is asked for, as data that can be sent to another process."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from ...curves import Family
from ...fitting import FitOptions, NoiseModel
from ...store import LossStore, StoreLike, locate, open_losses
from ...store.far_requests import at_once
from ...store.presence import Objects, list_objects
from ...store.schema import MissingChunks
from ...stream.sending import check_sent, from_anywhere


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
        place = locate(self.losses)
        asked: list[Callable[[], Any]] = [
            lambda: open_losses(self.losses, missing_chunks=self.missing_chunks),
            lambda: list_objects(place.store, place.path),
        ]
        source, objects = at_once(place, lambda ask: ask(), asked)
        if self.on_bad_chunk == "stop":
            source.raise_if_lost(objects)
        return source, objects

    def as_sent(self, dumps: Callable[[Any], bytes]) -> "FitRequest":
        """The same for another process: paths from the root on.

        Args:
            dumps: what it is sent with; see `tsl_jax.stream.workers.Workers`.

        Raises:
            StoreError: a store or the family cannot be sent.
        """
        request = dataclasses.replace(
            self, losses=from_anywhere("losses", self.losses), fits=from_anywhere("fits", self.fits)
        )
        for field in dataclasses.fields(request):
            check_sent(field.name, getattr(request, field.name), dumps)
        return request
