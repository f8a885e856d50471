"""The components of all parameters, as they are handed back: to widen errors, and to and from JSON."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from .component import Events, RunComponent
from .coordinates import Coordinate
from .time_factors import TimeFactors


@dataclasses.dataclass(frozen=True)
class RunComponents:
    """What `tsl_jax.compare` found on how runs differ, for every parameter.

    Args:
        items: one for each parameter; of families with events one for falling and one for rising events.

    Example:
        >>> import numpy as np
        >>> component = RunComponent("floor", "all", "plain", 0.0, 4.0, "factor", 0.9, 99, 0.1, 0.2, 0.0)
        >>> components = RunComponents((component,))
        >>> components.widened({"floor": np.array([3.0])}, {"floor": np.array([0.5])})["floor"].tolist()
        [1.0]
        >>> RunComponents.from_dict(components.as_dict()) == components
        True
    """

    items: tuple[RunComponent, ...]

    def find(self, parameter: str, events: Events) -> RunComponent | None:
        """The component of a parameter; that of falling events where those of rising ones are unknown; else None."""
        known = {(item.parameter, item.events): item for item in self.items if item.form != "unknown"}
        return known.get((parameter, events)) or (known.get((parameter, "falling")) if events == "rising" else None)

    @property
    def time_edges(self) -> tuple[float, ...] | None:
        """Edges between learning times whose factors differ, axis units; None where no component has any."""
        return next((item.times.edges for item in self.items if item.times is not None), None)

    def check(self, coordinates: Mapping[str, Coordinate], event: str | None) -> None:
        """Raise unless these are the components of such parameters.

        Args:
            coordinates: of the parameters, by name.
            event: the parameter at which an event happens; None for families without events.

        Raises:
            ValueError: what differs.
        """
        events = ("all",) if event is None else ("falling", "rising")
        found = {(item.parameter, item.events): item.coordinate for item in self.items}
        wanted = {(name, kind): coordinate.kind for name, coordinate in coordinates.items() for kind in events}
        if found != wanted:
            one, two = (", ".join(f"{name} ({kind}, {events})" for (name, events), kind in found_or_wanted.items())
                        for found_or_wanted in (found, wanted))  # fmt: skip
            raise ValueError(f"components: got those of {one}, expected {two}: compare runs of this family and scale")

    def widened(
        self, params: Mapping[str, ArrayLike], stderr: Mapping[str, ArrayLike]
    ) -> dict[str, Float[np.ndarray, " tokens"]]:
        """Errors between runs of all parameters; see `with_run_components`."""
        rises = np.asarray(params["loss_drop"]) < 0 if "loss_drop" in params else None
        has_events = any(item.events != "all" for item in self.items)
        found = {}
        for name, errors in stderr.items():
            value, errors = np.asarray(params[name]), np.asarray(errors)
            wide = self._widened(name, "falling" if has_events else "all", value, errors, params)
            if has_events and rises is not None:
                wide = np.where(rises, self._widened(name, "rising", value, errors, params), wide)
            found[name] = wide.astype(errors.dtype)
        return found

    def _widened(self, name: str, events: Events, value, errors, params: Mapping[str, ArrayLike]) -> np.ndarray:
        component = self.find(name, events)
        if component is None:
            return np.full(errors.shape, np.nan)
        if component.times is None:
            return component.widened(errors, value)
        if component.times.parameter not in params:
            raise ValueError(
                f"params: expected {component.times.parameter}, too: errors of {name} between runs depend on it"
            )
        return component.widened(errors, value, np.asarray(params[component.times.parameter]))

    def as_dict(self) -> list[dict[str, Any]]:
        """As JSON can hold it, NaN as None."""
        rows = []
        for item in self.items:
            times = None if item.times is None else dataclasses.asdict(item.times)
            times = times and {key: list(value) if isinstance(value, tuple) else value for key, value in times.items()}
            row = dataclasses.asdict(item) | {"times": times}
            rows.append({k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
        return rows

    @classmethod
    def from_dict(cls, rows: Sequence[Mapping[str, Any]]) -> "RunComponents":
        """What `as_dict` gave.

        Raises:
            ValueError: it is something else.
        """
        fields = [field.name for field in dataclasses.fields(RunComponent)]
        items = []
        for row in rows:
            if not isinstance(row, Mapping) or set(row) != set(fields):
                raise ValueError(f"components: got {row!r}, expected an object with {', '.join(fields)}")
            values: dict[str, Any] = {key: math.nan if value is None else value for key, value in row.items()}
            values["times"] = _times(row["times"])
            items.append(RunComponent(**values))
        return cls(tuple(items))


def _times(said: Any) -> TimeFactors | None:
    """Factors by learning time, as `RunComponents.as_dict` gives them."""
    if said is None:
        return None
    fields = [field.name for field in dataclasses.fields(TimeFactors)]
    if not isinstance(said, Mapping) or set(said) != set(fields):
        raise ValueError(f"components: got times {said!r}, expected an object with {', '.join(fields)}")
    edges, factors = (tuple(map(float, said[name])) for name in ("edges", "factors"))
    if len(factors) != len(edges) + 1 or not np.all(np.diff(edges) > 0) or not np.all(np.isfinite((*edges, *factors))):
        raise ValueError(f"components: got times {said!r}, expected increasing edges and one factor more than edges")
    return TimeFactors(str(said["parameter"]), edges, factors)


def with_run_components(
    params: Mapping[str, ArrayLike], stderr: Mapping[str, ArrayLike], components: RunComponents
) -> dict[str, Float[np.ndarray, " tokens"]]:
    """Errors between runs: what would scatter if the model were trained again from another seed.

    ``sqrt(factor · s² + additive)`` in the coordinate of the comparison (`RunComponent`), s the standard error, which
    says what would scatter if the same run were measured again; times a factor by when a token is learned, where that
    makes a difference. Events outside the window and tokens without an event get the components of events inside it.

    Args:
        params: parameters by name, (tokens,) each.
        stderr: their standard errors, in the same units.
        components: of a comparison of runs.

    Returns:
        Errors by name, in the same units; NaN where there is no standard error, and for parameters whose component is
        unknown, as too few tokens could be compared.

    Raises:
        ValueError: a standard error of a parameter that is not in ``params``, or no learning times there where errors
            depend on them.

    Example:
        >>> component = RunComponent("floor", "all", "plain", 0.09, 1.0, "additive", 0.9, 99, 0.4, 0.5, 0.0)
        >>> with_run_components({"floor": [3.0]}, {"floor": [0.4]}, RunComponents((component,)))["floor"].tolist()
        [0.5]
    """
    missing = sorted(set(stderr) - set(params))
    if missing:
        raise ValueError(f"params: expected {', '.join(missing)}, too, as their standard errors are given")
    return components.widened(params, stderr)
