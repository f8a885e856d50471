"""Losses of tokens whose sigmoids are known: any number of them, in blocks, each token the same in every block."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..curves import Sigmoid
from ..jax_switches import with_own_switches
from ..pytrees import pytree
from . import checks

#: What a token draws random numbers for, each with a key of its own.
_PARAMS, _NOISE, _GAPS = 0, 1, 2
#: Bits of a token's number that fit into one fold of a key; the bits above take another.
_LOW_BITS = 20
_MOST_AT_ONCE, _MOST_TOKENS = 2**30, 2**50


@dataclasses.dataclass(frozen=True)
class PlantedLaw:
    """How planted tokens are spread; every range is uniform, those marked *log* in the logarithm.

    Args:
        scale: ``"log"`` (u = ln a) or ``"linear"`` (u = a), the coordinate in which the losses are sigmoids.
        event: learning times, in units of the window in u: 0 at the first checkpoint, 1 at the last.
        sharpness: *log*, in 1/window.
        drop: *log*, size of the drop (nat).
        rising: fraction of tokens whose loss rises.
        lower: the lower plateau (nat).
        noise: *log*, standard deviation of the noise as a fraction of the drop; (0, 0) for none.
        missing: fraction of the losses that are NaN.

    Raises:
        ValueError: a range that is none, or a fraction outside 0 to 1.

    Example:
        >>> PlantedLaw(noise=(0.0, 0.0), missing=0.1).scale
        'log'
    """

    scale: Literal["log", "linear"] = "log"
    event: tuple[float, float] = (-0.2, 1.2)
    sharpness: tuple[float, float] = (3.0, 100.0)
    drop: tuple[float, float] = (0.3, 8.0)
    rising: float = 0.1
    lower: tuple[float, float] = (0.0, 3.0)
    noise: tuple[float, float] = (0.01, 0.1)
    missing: float = 0.0

    def __post_init__(self) -> None:
        checks.choice("scale", self.scale, ("log", "linear"))
        checks.span("event", self.event)
        checks.span("sharpness", self.sharpness, 0.0, above=True)
        checks.span("drop", self.drop, 0.0, above=True)
        checks.span("lower", self.lower, 0.0)
        low, high = checks.span("noise", self.noise, 0.0)
        if low == 0 < high:
            raise ValueError(f"noise: got 0 to {high:g}, expected (0, 0) for none or a range above 0")
        checks.number("rising", self.rising, 0.0, 1.0)
        checks.number("missing", self.missing, 0.0, 1.0)


@pytree
class Trajectories:
    """Tokens with known sigmoids.

    Attributes:
        losses: (tokens, checkpoints), nat, NaN where missing.
        params: the truth by name, each (tokens,): ``learning_time`` (axis units), ``sharpness`` (1/u), ``loss_drop``
            and ``final_loss`` (nat).
        noise: (tokens,) standard deviation of the noise, nat.
    """

    losses: Float[Array, "tokens checkpoints"]
    params: dict[str, Float[Array, " tokens"]]
    noise: Float[Array, " tokens"]


@with_own_switches
def trajectories(
    time: ArrayLike, tokens: int, law: PlantedLaw | None = None, *, seed: int = 0, first: int = 0
) -> Trajectories:
    """Losses of tokens with planted sigmoids, with noise and gaps.

    ``loss(u) = final_loss + loss_drop · (1 - σ(sharpness · (u - u_learn))) + noise``. A token's losses follow from
    the seed and its number alone: blocks of any size make the same tokens.

    Args:
        time: (checkpoints,) axis values, increasing; positive on the log scale.
        tokens: how many.
        law: how they are spread; by default `PlantedLaw()`.
        seed: of the random numbers.
        first: number of the first of them.

    Returns:
        `Trajectories`, float32.

    Raises:
        ValueError: an axis that does not increase or is not positive on the log scale, or a count out of range.

    Example:
        >>> made = trajectories([1, 10, 100, 1000], 5, PlantedLaw(noise=(0, 0)), seed=1)
        >>> made.losses.shape, sorted(made.params)
        ((5, 4), ['final_loss', 'learning_time', 'loss_drop', 'sharpness'])

    Source: the token law of arXiv 2606.29858.
    """
    time, law = _checked(time, law, seed)
    checks.whole("first", first, 0, _MOST_TOKENS)
    checks.whole("tokens", tokens, 1, _MOST_AT_ONCE)
    start = np.array(divmod(first, 2**_LOW_BITS), np.int32)
    return _made(jnp.asarray(time, float), jax.random.key(seed), start, tokens, law)


def trajectory_blocks(
    time: ArrayLike, tokens: int, law: PlantedLaw | None = None, *, seed: int = 0, block: int = 65_536
) -> Iterator[tuple[slice, Trajectories]]:
    """The same tokens block after block: memory for one block, one compiled program, any number of tokens.

    Args:
        time: (checkpoints,) as for `trajectories`.
        tokens: how many in all.
        law: how they are spread.
        seed: of the random numbers.
        block: tokens at once.

    Returns:
        An iterator over rows of the whole and their `Trajectories`.

    Raises:
        ValueError: what `trajectories` refuses.

    Example:
        >>> import numpy as np
        >>> whole = np.empty((5, 3), "float16")
        >>> for rows, made in trajectory_blocks([1, 10, 100], 5, block=2):
        ...     whole[rows] = made.losses
        >>> bool(np.isfinite(whole).all())
        True
    """
    time, law = _checked(time, law, seed)
    checks.whole("tokens", tokens, 1, _MOST_TOKENS)
    return _blocks(time, tokens, law, seed, min(checks.whole("block", block, 1, _MOST_AT_ONCE), tokens))


def _blocks(time, tokens: int, law: PlantedLaw, seed: int, block: int) -> Iterator[tuple[slice, Trajectories]]:
    for start in range(0, tokens, block):
        number = min(block, tokens - start)
        made = trajectories(time, block, law, seed=seed, first=start)  # of one length: one program
        yield slice(start, start + number), jax.tree.map(lambda rows, number=number: rows[:number], made)


def _checked(time: ArrayLike, law: PlantedLaw | None, seed: int) -> tuple[np.ndarray, PlantedLaw]:
    law = PlantedLaw() if law is None else law
    checks.whole("seed", seed, 0)
    log = law.scale == "log"
    return checks.increasing("time", time, 0.0 if log else -np.inf, above=log), law


@functools.partial(jax.jit, static_argnames=("tokens", "law"))
def _made(time, key, start, tokens: int, law: PlantedLaw) -> Trajectories:
    low = start[1] + jnp.arange(tokens, dtype=jnp.int32)
    high, low = start[0] + (low >> _LOW_BITS), low & (2**_LOW_BITS - 1)
    fold = jax.random.fold_in
    return jax.vmap(lambda high, low: _token(time, fold(fold(key, high), low), law))(high, low)


def _token(time, key, law: PlantedLaw) -> Trajectories:
    family = Sigmoid(law.scale)
    u = family.coordinate(time)
    window = u[-1] - u[0]
    draw = jax.random.uniform(jax.random.fold_in(key, _PARAMS), (6,))
    u_learn = u[0] + window * _between(draw[0], law.event)
    drop = _log_between(draw[1], law.drop)
    rises = draw[2] < law.rising
    params = {
        "learning_time": jnp.exp(u_learn) if law.scale == "log" else u_learn,
        "sharpness": _log_between(draw[3], law.sharpness) / window,
        "loss_drop": jnp.where(rises, -drop, drop),
        "final_loss": _between(draw[4], law.lower) + jnp.where(rises, drop, 0.0),
    }
    losses, noise = family.curve(time, params), jnp.zeros(())
    if law.noise[1] > 0:
        noise = drop * _log_between(draw[5], law.noise)
        losses += noise * jax.random.normal(jax.random.fold_in(key, _NOISE), time.shape)
    if law.missing > 0:
        gone = jax.random.uniform(jax.random.fold_in(key, _GAPS), time.shape) < law.missing
        losses = jnp.where(gone, jnp.nan, losses)
    return Trajectories(losses, params, noise)


def _between(fraction, bounds: tuple[float, float]):
    return bounds[0] + (bounds[1] - bounds[0]) * fraction


def _log_between(fraction, bounds: tuple[float, float]):
    return jnp.exp(_between(fraction, (float(np.log(bounds[0])), float(np.log(bounds[1])))))
