"""The columns of a fit store, made on the device as they are stored."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ...fitting import EVENT_CATEGORIES, POINTS_A_PARAMETER, Category, Fit, Status, has_parameters
from ...fitting.far import joined
from ...store import NO_PROBABILITY, PROBABILITY_ARRAYS, PROBABILITY_STEPS

#: The parameter whose sign says whether a loss falls or rises.
DROP = "loss_drop"
_MOST_FLOAT16 = float(np.finfo(np.float16).max)
#: What an event's time has beside its float32, on the way from the device to the store.
_EVENT_LOW = "event_low"


def fit_columns(result: Fit) -> dict[str, jax.Array]:
    """The arrays of a fit, named and encoded as in a fit store."""
    columns = {
        **result.params,
        **{f"{name}_stderr": array for name, array in result.stderr.items()},
        "rss": result.rss,
        "r2": result.r2,
        "constant": result.constant,
        "num_points": result.num_points,
        "status": result.status,
        "category": result.category,
        "noise_correlation": result.noise_correlation.astype(jnp.float16),
        "effective_points": jnp.minimum(result.effective_points, _MOST_FLOAT16).astype(jnp.float16),
    }
    if result.event_low is not None:
        columns[_EVENT_LOW] = result.event_low
    if result.second_event is None:
        return columns
    likely = {name: result.probabilities[name] for name in EVENT_CATEGORIES} | {"second_event": result.second_event}
    none = result.category == Category.NONE
    return columns | {PROBABILITY_ARRAYS[name]: _encoded(values, none) for name, values in likely.items()}


def whole_times(columns: dict[str, np.ndarray], event: str | None) -> dict[str, np.ndarray]:
    """The columns with an event's time, if it comes in two parts, in one of float64."""
    if event is None or _EVENT_LOW not in columns:
        return columns
    rest = {name: column for name, column in columns.items() if name != _EVENT_LOW}
    return rest | {event: joined(columns[event], columns[_EVENT_LOW])}


def _encoded(probability: jax.Array, none: jax.Array) -> jax.Array:
    """Probabilities in one byte."""
    known = ~none & jnp.isfinite(probability)
    steps = jnp.round(PROBABILITY_STEPS * jnp.where(known, probability, 0))
    return jnp.where(known, steps, NO_PROBABILITY).astype(jnp.uint8)


def noted(columns: Mapping[str, np.ndarray]) -> dict[str, int]:
    """What the ledger counts of a block beside statuses and categories: see `tsl_jax.store.ledger.NOTED`."""
    size = sum(name.endswith("_stderr") for name in columns)
    few = (columns["num_points"] < POINTS_A_PARAMETER * size) | (columns["rss"] == 0)
    few = few & has_parameters(columns["status"])
    counts = {"noise_not_estimated": int(np.count_nonzero(few))}
    if DROP in columns:
        rising = (columns["category"] == Category.LEARNED) & (columns[DROP] < 0)
        counts["learned_rising"] = int(np.count_nonzero(rising))
    second = columns.get(PROBABILITY_ARRAYS["second_event"])
    if second is not None:
        counts["second_events"] = int(np.count_nonzero((second > PROBABILITY_STEPS // 2) & (second != NO_PROBABILITY)))
    return counts


def mark_unreadable(columns: dict[str, np.ndarray], rows: slice) -> None:
    """Set tokens whose losses could not be read to what a fit store says of them."""
    for name, column in columns.items():
        nothing = NO_PROBABILITY if name in PROBABILITY_ARRAYS.values() else 0
        column[rows] = np.nan if column.dtype.kind == "f" else nothing
    columns["status"][rows] = Status.UNREADABLE
    columns["category"][rows] = Category.NONE
