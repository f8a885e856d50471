"""From fit stores of several runs to one of the same schema: every token's fits combined, block by block, resumable."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...curves import Family
from ...fitting import EVENT_CATEGORIES, degrees_of_freedom
from ...runs import Coordinate, RunComponents, RunTokens, combine_runs, combined_statistic
from ...store import (
    PROBABILITY_ARRAYS,
    BlockState,
    FitHeader,
    FitStore,
    FitWriter,
    InputDigest,
    Layout,
    StoreLike,
    damaged_blocks,
    decode_probability,
    encode_probability,
    locate,
    open_fits,
    refuse_foreign,
    resume_or_create,
    writer_lock,
)
from ...store.checksum import crc32c
from ...store.fingerprint import digest
from ...stream.plan import blocks_of
from ..fit.columns import noted
from .runs import comparison_coordinates
from .tokens import refuse_other_tokens, refuse_unlike, shared_coordinates, used_axis


def combine_fits(
    fits: Sequence[StoreLike | FitStore],
    out: StoreLike,
    components: RunComponents,
    *,
    ignore: Sequence[str] = (),
    family: Family | None = None,
    overwrite: bool = False,
    deep: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FitStore:
    """Combine the fits of the same tokens in several runs into one fit store of the same schema.

    Each parameter is the mean over runs, weighted by one over its variance between runs, in the coordinate of the
    comparison; its error is what would scatter if as many other runs were combined. The probability of an event is the
    mean of the runs; `tsl_jax.runs.combine_runs` says how runs that disagree are used. ``rss`` and
    ``num_points`` are sums over the runs that were used, ``r2`` is their mean, ``constant`` the mean of all measured
    losses; ``status`` is `AT_BOUND` only where no run has an error of the parameter. Kill it at any moment and run it
    again: it goes on. Blocks whose results are lost or of another size are combined anew.

    Args:
        fits: two or more fit stores that `compare` takes.
        out: where the combined fits go: a path, a URL or a Zarr store.
        components: how runs differ, of `compare`; where that is not known, standard errors alone weigh the runs.
        ignore: token coordinates that may differ between the stores; those of the first are kept.
        family: needed only for a family of your own.
        overwrite: delete fits that are there and begin anew.
        deep: whether results that are there are read and compared with their digests; what differs is combined anew.
        progress: called after each block with the tokens done and all tokens.

    Returns:
        The combined store, open. Its attribute ``combined`` names the runs and holds the components; checkpoints, and
        with them the window, are those of the first run.

    Raises:
        StoreError: as in `compare`, or the output cannot be used: `WriteError` (a full disk), `LockedError` (another
            run is writing), `ChangedError` (it holds fits of other runs).
        ValueError: components of another family or scale.

    Example:
        >>> import numpy as np, zarr, tsl_jax as tsl
        >>> step, time = np.geomspace(10, 1e4, 32), np.geomspace(50, 2000, 40)[:, None]
        >>> runs = []
        >>> for seed in (0, 1):
        ...     rng, source = np.random.default_rng(seed), zarr.storage.MemoryStore()
        ...     losses = 1 + 5 / (1 + (step / time) ** 3) + rng.normal(0, 0.05, (40, 32))
        ...     _ = tsl.create_losses(source, losses.astype("float32"), checkpoints={"step": step})
        ...     runs.append(zarr.storage.MemoryStore())
        ...     _ = tsl.fit_store(source, runs[-1], tsl.Sigmoid())
        >>> combined = tsl.combine_fits(runs, zarr.storage.MemoryStore(), tsl.compare(*runs).components)
        >>> one, both = tsl.open_fits(runs[0]).read(), combined.read()
        >>> bool(np.median(both.stderr["learning_time"]) < np.median(one.stderr["learning_time"]))
        True
    """
    stores = [one if isinstance(one, FitStore) else open_fits(one) for one in fits]
    refuse_unlike(stores)
    shared, target = shared_coordinates(stores, ignore), locate(out, writable=True)
    header, law = _header(stores, components), comparison_coordinates(stores[0], family)
    components.check(*law)
    for store in stores:
        refuse_foreign(target, store, overwrite=overwrite)
    with writer_lock(target) as lock:
        combined = resume_or_create(target, stores[0], header, _layout(stores[0]), overwrite=overwrite)
        writer, damaged = FitWriter(combined), damaged_blocks(combined, deep=deep)
        for block in damaged:
            writer.reopen(block)
        for block in blocks_of(combined.num_tokens, combined.ledger.block_tokens):
            if combined.ledger.states[block.index] != BlockState.FINISHED or block.index in damaged:
                tokens = slice(block.start, block.stop)
                refuse_other_tokens(stores, shared, tokens)
                values, made_from = _combined_block(stores, combined, law, components, tokens)
                writer.write(block.index, values)
                lock.check()
                outcome = values["status"], values["category"], noted(values)
                writer.finish(block.index, BlockState.FINISHED, made_from, *outcome)
            if progress:
                progress(block.stop, combined.num_tokens)
    return open_fits(out)


def _combined_block(
    stores: Sequence[FitStore],
    combined: FitStore,
    law: tuple[Mapping[str, Coordinate], str | None],
    components: RunComponents,
    tokens: slice,
) -> tuple[dict[str, np.ndarray], InputDigest]:
    """Every array of the combined tokens by name, and the digest of what they are made from."""
    columns = [
        {name: store.read_array(store.arrays[name], tokens.start, tokens.stop) for name in store.array_names}
        for store in stores
    ]
    runs, axis = [_tokens(store, values) for store, values in zip(stores, columns, strict=True)], used_axis(stores[0])
    coordinates, event = law
    found = combine_runs(runs, coordinates, components, event, (float(axis[0]), float(axis[-1])))
    values = {name: found.params[name] for name in combined.parameters}
    values |= {f"{name}_stderr": found.stderr[name] for name in combined.parameters}
    values |= {"status": found.status, "category": found.category}
    values |= {PROBABILITY_ARRAYS[name]: encode_probability(likely) for name, likely in found.probabilities.items()}
    num_points = np.stack([values["num_points"] for values in columns])
    for name in combined.array_names:
        if name not in values:
            values[name] = combined_statistic(name, np.stack([run[name] for run in columns]), found, num_points)
    values |= {name: stores[0].read_coordinate(name, tokens) for name in combined.token_coordinates}
    read = [column[name] for column in columns for name in sorted(column)]
    return values, InputDigest(digest(read), crc32c(read))


def _tokens(store: FitStore, values: Mapping[str, np.ndarray]) -> RunTokens:
    params, stderr = ({name: values[name + end] for name in store.parameters} for end in ("", "_stderr"))
    likely = {name: decode_probability(values[PROBABILITY_ARRAYS[name]]) for name in EVENT_CATEGORIES if store.event}
    freedom = degrees_of_freedom(values["noise_correlation"].astype(np.float32), values["num_points"], len(params))
    return RunTokens(params, stderr, values["status"], values["category"], likely, np.asarray(freedom))


def _header(stores: Sequence[FitStore], components: RunComponents) -> FitHeader:
    first = stores[0]
    return FitHeader(
        family=first.family,
        family_fields=first.attributes.get("family_fields", {}),
        parameters={name: str(first.arrays[name].attrs.get("units")) for name in first.parameters},
        scale=first.scale,
        axis=first.axis_name,
        options=first.options,
        dtype=str(first.arrays["rss"].dtype),
        package_version=importlib.metadata.version("tsl_jax"),
        event=first.event,
        event_dtype=None if first.event is None else str(first.arrays[first.event].dtype),
        noise_source="combined",
        left_out_checkpoints=first.left_out_checkpoints,
        input={"runs": [_fingerprint(store) for store in stores]},
        more={"combined": {"runs": [store.name for store in stores], "components": components.as_dict()}},
    )


def _layout(store: FitStore) -> Layout:
    array = store.main_array
    return Layout(store.chunk_tokens, (array.shards or array.chunks)[0], store.ledger.block_tokens)


def _fingerprint(store: FitStore) -> dict[str, Any]:
    """What tells fits from others: how they were made, and the digests of all their blocks."""
    attributes = json.dumps(dict(store.attributes), sort_keys=True).encode()
    return {
        "attributes": hashlib.sha256(attributes).hexdigest()[:16],
        "ledger": hashlib.sha256(np.ascontiguousarray(store.ledger.table).tobytes()).hexdigest()[:16],
    }
