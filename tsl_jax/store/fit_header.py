"""What a fit store says of how its fits were made, and what differs between two such headers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InvalidStoreError, StoreNotFoundError, Violation
from .fingerprint import describe_input, differences
from .fits import FitStore
from .location import Location
from .losses import LossStore
from .schema import FIT_FORMAT_VERSION, is_layout, noise_fault

_OWN_ATTRIBUTES = ("tsl_kind", "tsl_version", "coordinates", "loss_unit", "title", "data_kind", "layout")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a fit store is cut along tokens: chunks make shards, whole shards make blocks."""

    chunk_tokens: int
    shard_tokens: int
    block_tokens: int

    @classmethod
    def of_attribute(cls, stored: Any, name: str) -> "Layout":
        """The layout that a fit store says it has.

        Raises:
            InvalidStoreError: it says none that can be.
        """
        if not is_layout(stored):
            violation = Violation(
                "attribute layout", f"got {stored!r}", "chunks in shards in blocks", "Fit again with overwrite=True."
            )
            raise InvalidStoreError(name, "fits", [violation])
        return cls(**stored)


@dataclasses.dataclass(frozen=True)
class FitHeader:
    """What a fit store says of its fits; a resumed run must say the same.

    Args:
        family: name of the family.
        family_fields: what it was made with, by name.
        parameters: unit of each parameter by name, in the family's order.
        scale: ``"log"`` or ``"linear"``.
        axis: name of the axis.
        options: every option by name, as JSON can hold it.
        dtype: dtype of the fits, ``"float32"`` or ``"float64"``.
        package_version: version of the package that fits.
        event: name of the parameter that says when the event is; None for families without one.
        event_dtype: dtype of that parameter if it is not ``dtype``; it follows from the axis, and is no attribute.
        noise: the noise model that all tokens share, as JSON can hold it; None: each curve's own residuals alone.
        noise_source: where that comes from.
        left_out_checkpoints: checkpoints that are not used.
        input: what must not change of what the fits are made from; by default that of the losses.
        more: other attributes, by name.
    """

    family: str
    family_fields: Mapping[str, Any]
    parameters: Mapping[str, str]
    scale: str
    axis: str
    options: Mapping[str, Any]
    dtype: str
    package_version: str
    event: str | None = None
    event_dtype: str | None = None
    noise: Mapping[str, Any] | None = None
    noise_source: str = "alone"
    left_out_checkpoints: Sequence[int] = ()
    input: Mapping[str, Any] | None = None
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def attributes(self, losses: LossStore | FitStore) -> dict[str, Any]:
        """Group attributes of the fit store of these losses, or of fits that are made from other fits."""
        copied = {name: value for name, value in losses.attributes.items() if name not in _OWN_ATTRIBUTES}
        coordinates = [*sorted(losses.checkpoint_coordinates), *losses.token_coordinates]
        return copied | {
            "tsl_kind": "fits",
            "tsl_version": FIT_FORMAT_VERSION,
            "package_version": self.package_version,
            "family": self.family,
            "family_fields": dict(self.family_fields),
            "parameters": list(self.parameters),
            "event": self.event,
            "scale": self.scale,
            "axis": self.axis,
            "dtype": self.dtype,
            "options": dict(self.options),
            "noise_source": self.noise_source,
            "noise": None if self.noise is None else dict(self.noise),
            "left_out_checkpoints": [int(i) for i in self.left_out_checkpoints],
            "input": describe_input(losses) if isinstance(losses, LossStore) else dict(self.input or {}),
            "coordinates": " ".join(coordinates),
            **self.more,
        }


def recorded_noise(location: Location) -> tuple[str, dict[str, Any] | None] | None:
    """Where the noise of the fits at a place comes from, and the model; None where there are no fits yet.

    Raises:
        InvalidStoreError: the model there is damaged.
    """
    try:
        attributes: dict[str, Any] = location.open_group().attrs.asdict()
    except StoreNotFoundError:
        return None
    if attributes.get("tsl_kind") != "fits" or "noise_source" not in attributes:
        return None
    fault = noise_fault(attributes.get("noise"))
    if fault is not None:
        cure = "Restore its zarr.json, or fit again with overwrite=True."
        raise InvalidStoreError(
            location.name, "fits", [Violation("attribute noise", fault, "a noise model, or null", cure)]
        )
    return attributes["noise_source"], attributes.get("noise")


def header_differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two headers, one sentence each; of the noise model as a whole."""
    names = ("noise_source", "noise")
    old, new = ({name: value for name, value in side.items() if name not in names} for side in (stored, now))
    changes = [_in_words(change) for change in differences(old, new)]
    same = [stored.get(name) for name in names] == [now.get(name) for name in names]
    if same or any(change.startswith(("options.noise:", "tsl_version:")) for change in changes):
        return changes
    return [*changes, f"noise: was {_said_of_noise(stored)}, now {_said_of_noise(now)}"]


def _in_words(change: str) -> str:
    """What is kept as a hash says by itself only that it differs."""
    name, _, values = change.partition(": ")
    if name == "input.attributes":
        return "attributes of the losses (title, units, domains, ...): other than when the fits were begun"
    coordinate = name.removeprefix("input.checkpoint_coordinates.")
    if coordinate != name and "absent" not in values:
        return f"checkpoint coordinate {coordinate!r} of the losses: other values than when the fits were begun"
    return change


def _said_of_noise(header: Mapping[str, Any]) -> str:
    source, model = header.get("noise_source"), header.get("noise")
    if noise_fault(model) is not None:
        return "a model that is damaged"
    if isinstance(model, Mapping):
        return f"a model that was {source} (correlation {model.get('lag_mean'):.6g})"
    if source == "combined":
        return "that of the runs that are combined"
    return "a model estimated from these losses" if source == "estimated" else "each curve's own residuals alone"
