"""`tsl info`: what is in a store."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..messages import in_words_of_the_command
from .console import AnyStore, Debug, Json, reporting, write_json
from .streams import output_console, say

if TYPE_CHECKING:
    import zarr

    from ..store import FitStore, LossStore

#: Missing losses are counted on at most this many losses in at most this many places.
_SAMPLED_LOSSES, _SAMPLED_PLACES = 2**22, 16


def info(
    store: AnyStore,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Describe a loss or fit store: sizes, axes, coordinates, layout; of fits also what was fitted, how far.

    Exit codes: 0 done; 1 no store, or one that is not valid; 2 wrong usage.
    """
    with reporting(as_json, debug):
        from ..store import locate, open_fits, open_losses

        kind = locate(store).open_group().attrs.get("tsl_kind")
        said = describe_fits(open_fits(store)) if kind == "fits" else describe_losses(open_losses(store))
        _print(said)
        if as_json:
            write_json(said)


def describe_losses(store: "LossStore") -> dict[str, Any]:
    """What there is to say of a loss store, as JSON can hold it."""
    return {
        "store": store.name,
        "kind": "losses",
        **_title(store.attributes),
        "tokens": store.num_tokens,
        "checkpoints": store.num_checkpoints,
        "axes": _axes(store, store.axes),
        "token_coordinates": _dtypes(store.token_coordinates),
        "dtype": str(store.losses.dtype),
        **_layout(store.losses, [store.losses, *store.token_coordinates.values()]),
        "missing": missing_fraction(store),
    }


def describe_fits(store: "FitStore") -> dict[str, Any]:
    """What there is to say of a fit store, as JSON can hold it."""
    import numpy as np

    from ..fitting import Category, Status
    from ..jobs import describe_tokens
    from ..store import BlockState

    told = describe_tokens(store)
    ledger = store.ledger
    statuses, categories = ledger.status_counts(), ledger.category_counts()
    tried = sum(statuses.values())
    return {
        "store": store.name,
        "kind": "fits",
        **_title(store.attributes),
        "tokens": store.num_tokens,
        "checkpoints": store.num_checkpoints,
        "family": store.family,
        "parameters": {name: store.arrays[name].attrs.get("units") for name in store.parameters},
        "axis": store.axis_name,
        "scale": store.scale,
        "options": dict(store.options),
        "left_out_checkpoints": list(store.left_out_checkpoints),
        "package_version": store.attributes.get("package_version"),
        **({"combined_runs": combined["runs"]} if (combined := store.attributes.get("combined")) else {}),
        "complete": store.complete,
        "tokens_done": tried,
        "blocks": len(ledger.states),
        "blocks_finished": int(np.sum(ledger.states == BlockState.FINISHED)),
        "blocks_with_bad_chunks": int(np.sum(ledger.states == BlockState.WITH_BAD_CHUNKS)),
        "statuses": {
            Status(code).name: {"tokens": count, "cause_and_cure": Status(code).cause_and_cure}
            for code, count in statuses.items()
        },
        "categories": {
            Category(code).name: {"tokens": count, "meaning": Category(code).meaning}
            for code, count in categories.items()
        },
        **{name: value for name, value in told.items() if not name.endswith("_counts")},
        "axes": _axes(store, [store.axis_name]),
        "token_coordinates": _dtypes(store.token_coordinates),
        "dtype": str(store.arrays["rss"].dtype),
        **_layout(store.arrays["status"], [*store.arrays.values(), *store.token_coordinates.values()]),
    }


def missing_fraction(store: "LossStore") -> dict[str, Any]:
    """Share of losses that are NaN, in a sample: the first tokens of chunks spread evenly over the store."""
    import numpy as np

    from ..store import ChunkError

    if not store.losses.size:
        return {"fraction": None, "sampled_tokens": 0, "sample": "no losses"}
    chunks = -(-store.num_tokens // store.chunk_tokens)
    places = np.unique(np.linspace(0, chunks - 1, min(chunks, _SAMPLED_PLACES)).astype(int))
    rows = max(1, min(store.chunk_tokens, _SAMPLED_LOSSES // (len(places) * store.num_checkpoints)))
    missing, tokens = 0, 0
    for place in places:
        try:
            losses = store.read(slice(int(place) * store.chunk_tokens, int(place) * store.chunk_tokens + rows))
        except ChunkError as error:
            return {"fraction": None, "sampled_tokens": 0, "sample": f"{error.bad}; tsl validate looks at all"}
        missing += int(np.isnan(losses).sum())
        tokens += len(losses)
    whole = tokens == store.num_tokens
    sample = "all tokens" if whole else f"{tokens} tokens in {len(places)} chunks spread over the store"
    return {"fraction": missing / (tokens * store.num_checkpoints), "sampled_tokens": tokens, "sample": sample}


def _title(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: attributes[name] for name in ("title", "data_kind", "domains") if name in attributes}


def _axes(store: "LossStore | FitStore", names: Any) -> dict[str, Any]:
    return {name: {"first": values[0], "last": values[-1]} for name in names if len(values := store.axis(name))}


def _dtypes(arrays: Mapping[str, "zarr.Array"]) -> dict[str, str]:
    return {name: str(array.dtype) for name, array in arrays.items()}


def _layout(array: "zarr.Array", stored: list["zarr.Array"]) -> dict[str, Any]:
    return {
        "chunks": list(array.chunks),
        "shards": list(array.shards) if array.shards else None,
        "bytes": sum(each.nbytes for each in stored),
        "stored_bytes": _stored_bytes(stored) if array.store.supports_listing else None,
    }


def _stored_bytes(arrays: list["zarr.Array"]) -> int | None:
    from ..store import StoreError, list_objects

    total = 0
    for array in arrays:
        try:
            listed = list_objects(array.store, array.path)
        except StoreError:  # a disk does not show all
            return None
        if listed is None:  # a store may refuse to list what it lets read
            return None
        known = [stored.size for stored in listed.values() if stored.size is not None]
        total += sum(known) if len(known) == len(listed) else array.nbytes_stored()
    return total


def _print(said: Mapping[str, Any]) -> None:
    from rich.table import Table

    console = output_console()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in said.items():
        for index, line in enumerate(_lines(name, value)):
            table.add_row(name.replace("_", " ") if index == 0 else "", line)
    if console.is_terminal:
        console.print(table)
    else:  # a file has no width to fold at
        for name, value in said.items():
            for line in _lines(name, value):
                say(console, f"{name.replace('_', ' ')}: {line}")


def _lines(name: str, value: Any) -> list[str]:
    """One value of a description as lines for people."""
    if name == "axes":
        return [f"{axis} {ends['first']:g} to {ends['last']:g}" for axis, ends in value.items()]
    if name in ("statuses", "categories"):
        return [
            " ".join([key, *(f"{v:,}" if isinstance(v, int) else in_words_of_the_command(v) for v in row.values())])
            for key, row in value.items()
        ]
    if name == "missing":
        fraction = "unknown" if value["fraction"] is None else f"{100 * value['fraction']:.3g}%"
        return [f"{fraction} of the losses (sample: {value['sample']})"]
    if value is None and name in ("learned_falling", "learned_rising", "second_events", "noise_correlation"):
        return []
    if isinstance(value, float):
        return [f"{value:,.4g}"]
    if value is None:
        return ["none" if name == "shards" else "unknown"]
    if name.endswith("bytes"):
        return [f"{value / 2**20:,.1f} MiB"]
    if isinstance(value, Mapping):
        return [", ".join(f"{key}={item}" for key, item in value.items()) or "none"]
    if name == "left_out_checkpoints" and value:
        return [f"{', '.join(map(str, value))} (counted from 0)"]
    if isinstance(value, list):
        return [", ".join(map(str, value)) or "none"]
    return [f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)]
