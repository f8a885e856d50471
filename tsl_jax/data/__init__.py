"""The sample that comes with the package: real losses, small enough to ship."""

import importlib.resources
from pathlib import Path


def sample_path() -> Path:
    """Where the sample loss store lies: per-token losses of a small language model trained on real text.

    100 whole sequences of 256 tokens, 20 of each of five domains, at 101 checkpoints; the store's attributes
    say what was trained on what, and which sequences of the full validation set were taken.

    Returns:
        Path of a loss store, to be read with `tsl_jax.store.open_losses`; do not write there.

    Example:
        >>> from tsl_jax.data import sample_path
        >>> from tsl_jax.store import open_losses
        >>> open_losses(sample_path()).losses.shape
        (25600, 101)
    """
    return Path(str(importlib.resources.files(__name__) / "sample.zarr"))


__all__ = ["sample_path"]
