"""Loss stores of any size for benchmarks: planted sigmoids, some hundred thousand different ones, over and over."""

from pathlib import Path

#: Curves that differ, and bytes of losses that are written at once.
_CURVES, _ROOM = 2**17, 2**25


def write_sigmoids(path: Path, tokens: int, checkpoints: int, chunk_bytes: int = 2**20, shard_bytes: int = 2**25):
    """Write noisy sigmoids (float16) to a new loss store, some shards at a time, and return it.

    Args:
        path: where.
        tokens: how many.
        checkpoints: losses a token.
        chunk_bytes: bytes of losses in a chunk.
        shard_bytes: bytes of losses in a shard.
    """
    import numpy as np

    from tsl_jax.store import create_losses

    from ..fitting import problems

    chunk, shard = (size // (2 * checkpoints) for size in (chunk_bytes, shard_bytes))
    few = problems.sigmoids(0, min(tokens, _CURVES), checkpoints, dtype=np.float16)
    shape, step = (tokens, checkpoints), {"step": few.time}
    store = create_losses(path, shape, checkpoints=step, dtype=np.float16, chunk_tokens=chunk, shard_tokens=shard)
    rows = shard * max(1, _ROOM // shard_bytes)
    for start in range(0, tokens, rows):
        stop = min(start + rows, tokens)
        store.losses[start:stop] = np.take(few.losses, range(start, stop), axis=0, mode="wrap")
    return store
