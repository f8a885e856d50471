"""A loss store of any size with known truth."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from ..store import LossStore, StoreError, StoreLike, create_losses
from ..store.errors import writing
from ..store.unfinished import being_filled
from ..stream.blocks import Progress

if TYPE_CHECKING:  # the simulations need much of SciPy, which those who fit do not wait for
    from ..simulate import PlantedLaw, Trajectories

#: About so many bytes of losses are made at once, in whole shards.
_BLOCK_BYTES = 2**26


def simulate_store(
    out: StoreLike,
    time: ArrayLike,
    tokens: int,
    law: "PlantedLaw | None" = None,
    *,
    seed: int = 0,
    axis: str = "step",
    dtype: str = "float16",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> LossStore:
    """Write planted trajectories to a loss store, block after block: memory does not grow with the store.

    A run that is killed leaves no loss store behind but an unfinished one, which ``overwrite`` replaces.

    The attributes hold the seed and the law, from which `planted_tokens` makes the truth of any rows again.

    Args:
        out: where; see `tsl_jax.store.locate`.
        time: (checkpoints,) values of the axis, increasing.
        tokens: how many.
        law: how they are spread; by default `tsl_jax.simulate.PlantedLaw()`.
        seed: of the random numbers.
        axis: name of the axis.
        dtype: of the losses on disk.
        overwrite: whether to replace a loss store that is there.
        progress: called with the tokens done and all tokens.

    Returns:
        The open loss store.

    Raises:
        ValueError: what `tsl_jax.simulate.trajectories` refuses.
        StoreError: something is there already, or it cannot be written.

    Example:
        >>> import zarr
        >>> store = simulate_store(zarr.storage.MemoryStore(), [1, 10, 100], 1000, seed=3)
        >>> store.num_tokens, planted_tokens(store, slice(10, 12)).params["loss_drop"].shape
        (1000, (2,))
    """
    from ..simulate import PlantedLaw, trajectory_blocks

    law = PlantedLaw() if law is None else law
    time = np.asarray(time)
    trajectory_blocks(time, tokens, law, seed=seed)  # its checks, before anything is written
    planted = {"seed": seed, "law": dataclasses.asdict(law), "axis": axis}
    store = create_losses(
        out,
        (tokens, len(time)),
        checkpoints={axis: time},
        attributes={"provenance": "planted sigmoids of tsl_jax.simulate", "planted": planted},
        dtype=dtype,
        overwrite=overwrite,
    )
    shard = store.shard_tokens or tokens
    block = max(1, _BLOCK_BYTES // (4 * len(time) * shard)) * shard
    with being_filled(store):
        for rows, made in trajectory_blocks(time, tokens, law, seed=seed, block=block):
            with writing(store.name, "the losses", kept="It is not complete.", again="write it with overwrite=True"):
                store.losses[rows] = np.asarray(made.losses).astype(dtype)
            if progress is not None:
                progress(rows.stop, tokens)
    return store


def planted_tokens(store: LossStore, rows: slice) -> "Trajectories":
    """Losses in full precision and truth of some tokens of a store that `simulate_store` made.

    Args:
        store: the loss store.
        rows: which tokens; without a step.

    Returns:
        `tsl_jax.simulate.Trajectories`.

    Raises:
        StoreError: the store was not made by `simulate_store`.
        ValueError: no rows, or rows with a step.
    """
    from ..simulate import PlantedLaw, trajectories

    planted = store.attributes.get("planted")
    if not isinstance(planted, dict) or not {"seed", "law", "axis"} <= set(planted):
        raise StoreError(f"{store.name}: has no attribute 'planted'; expected a store that simulate_store wrote")
    start, stop, step = rows.indices(store.num_tokens)
    if step != 1 or stop <= start:
        raise ValueError(f"rows: got {rows} of {store.num_tokens} tokens, expected at least one, without a step")
    ranges: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in planted["law"].items()
    }
    time = store.axis(planted["axis"])
    return trajectories(time, stop - start, PlantedLaw(**ranges), seed=planted["seed"], first=start)
