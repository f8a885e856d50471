"""Many fits of a law over sizes at once: from a grid of starts, and to the replicates of a bootstrap."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ...fitting import LeastSquaresOptions, Status, least_squares
from .size_laws import SizeLaw

#: Steps of each round. A batch ends with its slowest fit, so that those that take longer go on together.
_STEPS, _ROUNDS = 20, 50
#: Fits that are made at once: what they take stays in the processor's caches.
_BATCH = 128
#: What an undamped step would still gain, as a fraction of the objective, of fits that are not the final one.
_ROUGHLY = 1e-8

#: ``ln N``, ``ln D``, for some laws the logarithm of the epochs, and ``ln L`` of the runs.
Rows = Float[np.ndarray, "rows runs"]


@functools.lru_cache(maxsize=16)
def residual_of(law: SizeLaw) -> Callable[..., Float[Array, " runs"]]:
    """``ln L`` of the law less that of the runs, as `least_squares` takes it."""

    def residual(coordinates, rows):
        *known, log_loss = rows
        return law.log_loss(dict(zip(law.names, coordinates, strict=True)), *known) - log_loss

    return residual


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fits(law, options, starts, rows):
    def one(start, rows):
        fit = least_squares(residual_of(law), start, rows, options=options)
        return fit.params, fit.rss, fit.status

    return jax.vmap(one)(starts, rows)


def minimised(
    law: SizeLaw,
    huber: float,
    starts: Float[np.ndarray, "fits p"],
    rows: Rows,
    drawn: Int[np.ndarray, "fits runs"],
    *,
    rounds: int = _ROUNDS,
    exactly: bool = False,
) -> tuple[Float[np.ndarray, "fits p"], Float[np.ndarray, " fits"], Int[np.ndarray, " fits"]]:
    """Coordinates, twice the objective and the status of each fit from its start to the runs that are drawn for it."""
    options = LeastSquaresOptions(loss="huber", f_scale=huber, max_steps=_STEPS, tolerance=_ROUGHLY)
    if exactly:
        options = LeastSquaresOptions(loss="huber", f_scale=huber)
    found = np.array(starts, np.float64), np.full(len(starts), np.inf), np.full(len(starts), Status.MAX_STEPS, np.uint8)
    size = 1 if exactly else _BATCH
    for _ in range(1 if exactly else rounds):
        going = np.flatnonzero(found[2] == Status.MAX_STEPS)
        for first in range(0, len(going), size):
            some = going[first : first + size]
            full = np.resize(some, size)  # of one size: each is compiled
            fits = _fits(law, options, found[0][full], np.moveaxis(rows[:, drawn[full]], 0, 1))
            for part, more in zip(found, fits, strict=True):
                part[some] = np.asarray(more)[: len(some)]
    return found


def bootstrap(
    law: SizeLaw, huber: float, start: Float[np.ndarray, " p"], rows: Rows, replicates: int, key: Array
) -> Float[np.ndarray, "replicates p"]:
    """Coordinates of fits to runs that are drawn anew with replacement; NaN where there is no fit."""
    number = rows.shape[1]
    drawn = np.asarray(jax.random.randint(key, (replicates, number), 0, number, np.int32))
    coordinates, _, _ = minimised(law, huber, np.broadcast_to(start, (replicates, len(start))), rows, drawn)
    return coordinates
