"""Fits of a store as a `Fit` in memory."""

from typing import Any

import numpy as np

from ...curves import FAMILIES, Family
from ...fitting import Fit
from ...store import FitStore, StoredFit, StoreError
from ..predict import family_of

#: Tokens that are read together where those wanted are far from each other.
_READ_TOKENS = 2**18


def load_fit(fits: FitStore, index: Any = slice(None), *, family: Family | None = None) -> Fit:
    """Fits of some tokens of a store, in memory, as `tsl_jax.fit` returns them.

    Args:
        fits: an open store.
        index: as of an array (tokens,): an integer, a slice, a mask, integers.
        family: needed only for a family of your own.

    Returns:
        `Fit` with NumPy arrays. Probabilities are to the nearest 254th; tokens that are not fitted yet have
        `Status.PENDING`.

    Raises:
        IndexError: the index lies outside, or a mask has another length.
        StoreError: the store's family is unknown and ``family`` was not given.
        ChunkError: a chunk of the store is corrupted.

    Example:
        >>> import numpy as np, zarr, tsl_jax as tsl
        >>> from tsl_jax.jobs import load_fit, simulate_store
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = simulate_store(source, np.geomspace(10, 1e4, 32), tokens=256)
        >>> _ = tsl.fit_store(source, target, tsl.Sigmoid())
        >>> fits = tsl.open_fits(target)
        >>> len(load_fit(fits)), load_fit(fits, [250, 3]).params["learning_time"].shape
        (256, (2,))
    """
    if family is None and fits.family not in FAMILIES:
        how = "tsl_jax.jobs.load_fit(fits, index, family=...)"
        raise StoreError(f"{fits.name}: family {fits.family!r} is none of {', '.join(FAMILIES)}; read rows with {how}")
    family = family or family_of(fits)
    if isinstance(index, slice) and index.step in (None, 1):
        return _as_fit(fits.read(index), family)
    rows = np.arange(fits.num_tokens)[index]
    if rows.ndim == 0:
        return _as_fit(fits.read(slice(int(rows), int(rows) + 1)), family)[0]
    wanted, place = np.unique(rows, return_inverse=True)
    pieces = []
    for part in np.unique(wanted // _READ_TOKENS):
        start = int(part) * _READ_TOKENS
        inside = wanted[(wanted >= start) & (wanted < start + _READ_TOKENS)] - start
        first, last = int(inside[0]), int(inside[-1])
        pieces.append(_as_fit(fits.read(slice(start + first, start + last + 1)), family)[inside - first])
    if not pieces:
        return _as_fit(fits.read(slice(0, 0)), family)
    import jax

    whole = jax.tree.map(lambda *arrays: np.concatenate(arrays), *pieces)
    return whole[place.reshape(rows.shape)]


def _as_fit(stored: StoredFit, family: Family) -> Fit:
    return Fit(**vars(stored), family=family)
