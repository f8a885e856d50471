"""The words of the two schemas on disk, and small questions about arrays."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np
import zarr

#: Version of loss stores; a change that old readers cannot read raises it.
FORMAT_VERSION = 1
#: Version of fit stores. 2: noise, probabilities of categories and of a second event; the ledger knows what each block
#: holds, and every chunk of a finished block is stored. 4: the ledger counts second events, where it added up their
#: probabilities.
FIT_FORMAT_VERSION = 4
READABLE_VERSIONS = {"losses": (FORMAT_VERSION,), "fits": (FIT_FORMAT_VERSION,)}
TOKEN, CHECKPOINT = "token", "checkpoint"
#: Checkpoint coordinates that must increase wherever they are present; other increasing ones are axes too.
KNOWN_AXES = ("step", "tokens_seen", "lr_sum")
LOSS_DTYPES = ("float16", "float32", "float64")
#: Arrays of a fit store beside parameters and standard errors, with the kinds of number each may hold.
FIT_ARRAYS = {
    "rss": "f",
    "r2": "f",
    "constant": "f",
    "num_points": "iu",
    "status": "u",
    "category": "u",
    "noise_correlation": "f",
    "effective_points": "f",
}
#: What a family with an event has besides, probabilities in one byte: of each category (the names of
#: `tsl_jax.fitting.EVENT_CATEGORIES`), and of a second event.
PROBABILITY_ARRAYS = {name: f"{name}_probability" for name in ("unlearned", "learned", "early", "late")} | {
    "second_event": "second_event"
}
#: A probability p is stored as ``round(PROBABILITY_STEPS p)``; `NO_PROBABILITY` stands for none.
PROBABILITY_STEPS, NO_PROBABILITY = 254, 255
LEDGER = "ledger"
#: What a loss store is called while it is being written: no reader takes it for one.
UNFINISHED = "unfinished losses"
#: What the losses are called that a training loop appends, one column a checkpoint, in a group for each of its ranks.
BY_CHECKPOINT = "losses by checkpoint"
#: What a chunk that is not stored means: an error; losses that were not measured; and, beside that, coordinates that
#: hold the array's fill value, as writers mean it that leave out chunks of zeros.
MissingChunks = Literal["refuse", "as-nan", "as-fill"]


def checked_missing_chunks(value: str) -> str:
    """One of `MissingChunks`.

    Raises:
        ValueError: it is another.
    """
    if value not in get_args(MissingChunks):
        known = ", ".join(map(repr, get_args(MissingChunks)))
        raise ValueError(f"missing_chunks: got {value!r}, expected one of {known}")
    return value


def is_layout(stored: Any) -> bool:
    """Whether an attribute says how fits are cut: chunks that make shards, which make blocks."""
    names = ("chunk_tokens", "shard_tokens", "block_tokens")
    if not isinstance(stored, dict) or set(stored) != set(names):
        return False
    if not all(type(stored[name]) is int and stored[name] > 0 for name in names):
        return False
    return stored["shard_tokens"] % stored["chunk_tokens"] == stored["block_tokens"] % stored["shard_tokens"] == 0


def fit_array_kinds(parameters: Iterable[str], event: str | None) -> dict[str, str]:
    """The arrays of a fit store, coordinates apart, with the kinds of number each may hold.

    Args:
        parameters: names of the parameters.
        event: which of them says when the event is; None for families without one.
    """
    names = tuple(parameters)
    kinds = dict.fromkeys((*names, *(f"{name}_stderr" for name in names)), "f") | FIT_ARRAYS
    return kinds if event is None else kinds | dict.fromkeys(PROBABILITY_ARRAYS.values(), "u")


def decode_probability(stored: np.ndarray) -> np.ndarray:
    """Stored probabilities as float32; NaN for none."""
    return np.where(stored == NO_PROBABILITY, np.float32(np.nan), stored.astype(np.float32) / PROBABILITY_STEPS)


#: What the noise model of a fit store says, by name: how many numbers for c checkpoints, less so many; None: one.
NOISE_FIELDS: dict[str, int | None] = {
    "time": 0,
    "std": 0,
    "correlation": 1,
    "lag_mean": None,
    "lag_variance": None,
    "growth_mean": None,
    "growth_variance": None,
}


def noise_fault(noise: Any) -> str | None:
    """What is wrong with the attribute ``noise`` of a fit store; None where nothing is."""
    if noise is None:
        return None
    if not isinstance(noise, Mapping):
        return f"got {noise!r}"
    if set(noise) != set(NOISE_FIELDS):
        return f"got fields {sorted(map(str, noise))}, not {sorted(NOISE_FIELDS)}"
    time = noise["time"]
    number = len(time) if isinstance(time, list) else 0
    for name, less in NOISE_FIELDS.items():
        values = noise[name]
        if (less is None) == isinstance(values, list) or (less is not None and len(values) != number - less):
            return f"{name} is no {'number' if less is None else f'list of {max(number - less, 0)} numbers'}"
        numbers = [values] if less is None else values
        if not all(
            isinstance(one, int | float) and not isinstance(one, bool) and -1e300 < one < 1e300 for one in numbers
        ):
            return f"{name} holds something else than finite numbers"
    return None


def encode_probability(probability: np.ndarray) -> np.ndarray:
    """Probabilities as they are stored, in one byte each; NaN is none."""
    known = np.isfinite(probability)
    steps = np.rint(PROBABILITY_STEPS * np.where(known, probability, 0))
    return np.where(known, steps, NO_PROBABILITY).astype(np.uint8)


def dimensions(array: zarr.Array) -> tuple[str | None, ...]:
    """Names of an array's dimensions; empty where it has none."""
    return tuple(getattr(array.metadata, "dimension_names", None) or ())


def of_other_layout(group: zarr.Group) -> bool:
    """Whether losses lie in a group otherwise than in a loss store: old Zarr, other dimensions, packed as integers."""
    losses = group.get("losses")
    if group.metadata.zarr_format != 3 or not isinstance(losses, zarr.Array):
        return group.metadata.zarr_format != 3
    return dimensions(losses) != (TOKEN, CHECKPOINT) or str(losses.dtype) not in LOSS_DTYPES


def coordinates(arrays: Mapping[str, zarr.Array], dimension: str) -> dict[str, zarr.Array]:
    """The numeric arrays over one dimension alone, by name, in alphabetical order."""
    return {
        name: array
        for name, array in sorted(arrays.items())
        if dimensions(array) == (dimension,) and array.dtype.kind in "iufb"
    }


def increases(values: np.ndarray) -> bool:
    """Whether values are finite and each is above the one before."""
    return bool(np.all(np.isfinite(values)) and np.all(values[1:] > values[:-1]))


def first_fall(values: np.ndarray) -> str:
    """Where values that should increase do not, in words."""
    rises = np.isfinite(values[1:]) & (values[1:] > values[:-1])
    at = 1 + int(np.argmin(rises)) if len(rises) and not np.all(rises) else 0
    return f"value {at} is {values[at]}" + (f" after {values[at - 1]}" if at else "")
