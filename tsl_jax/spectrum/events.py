"""What a spectrum takes from each token: which cell its event falls in, and what it adds there."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..codes import Code
from ..curves.parts import Parts, apart, in_parts
from ..fitting import Category, Status, has_parameters
from ..pytrees import pytree
from .blocks import TokenBlock, resample_of
from .grid import LEAST_SHARPNESS, SpectrumGrid

#: Drops and losses are counted in whole multiples of this many nat, squared drops of the next of nat².
DROP_UNIT, SQUARE_UNIT = 2.0**-20, 2.0**-12
#: Greatest drop or loss (nat) that is counted; 22 is the loss of a uniform guess among 4 billion.
MOST_LOSS = 255.0
#: How far outside the window a LEARNED event may lie through rounding, and inside an EARLY or LATE one, in windows.
_ROUNDING = 1e-3
#: Steps of infinite sharpness are taken as this steep (1 / window), which is the same curve.
_STEEPEST = 1e9


class Kind(Code):
    """What a token adds to a spectrum; every token is counted under exactly one.

    The first five make up the mean loss: of `LEARNED`, `EARLY` and `LATE` tokens by their curve, of `UNLEARNED` and
    `CONSTANT` ones by their constant, as `tsl_jax.curve_counts` has it.
    """

    LEARNED = 0, "An event whose fitted time lies inside the window, also where EARLY or LATE is likelier."
    EARLY = 1, "An event before the first checkpoint; the part of its drop inside the window counts."
    LATE = 2, "An event after the last checkpoint; the part of its drop inside the window counts."
    UNLEARNED = 3, "No event that the test against a constant supports; its constant counts."
    CONSTANT = 4, "No curve, such as for flat losses; its constant counts."
    NO_DATA = 5, "Neither curve nor constant: no usable losses. Not part of any mean."
    PENDING = 6, "Not fitted yet. Not part of any mean."
    UNUSABLE = (
        7,
        f"An event with parameters that are not finite, beyond {MOST_LOSS:g} nat, or at odds with its category and the "
        "window. Not part of any mean; check the axis given for the fits.",
    )


NUM_KINDS = len(Kind)


@pytree
class Events:
    """What tokens add, arrays (tokens,).

    Attributes:
        kind: `Kind`; one past the last for padding.
        resample: the group of sequences it is drawn with.
        rises: 1 where the loss rises at the event (forgetting), 0 where it falls.
        time: index of the time bin, among those outside and inside the window.
        sharpness: index of the sharpness bin.
        nearest: index of the last sharpness that stands for a bin and is not above the event's own; the first if none.
        next_fraction: how far towards the next one it lies, 0 to 1, in ln(sharpness).
        drop: size of the drop (nat); of events outside the window the part inside it.
        level: loss at the end of the window, or the constant where that counts (nat).
    """

    kind: Int[Array, " tokens"]
    resample: Int[Array, " tokens"]
    rises: Int[Array, " tokens"]
    time: Int[Array, " tokens"]
    sharpness: Int[Array, " tokens"]
    nearest: Int[Array, " tokens"]
    next_fraction: Float[Array, " tokens"]
    drop: Float[Array, " tokens"]
    level: Float[Array, " tokens"]


def events_of(grid: SpectrumGrid, block: TokenBlock) -> Events:
    """Sort the tokens of a block into kinds and bins."""
    # From the ratio to the first checkpoint: a logarithm of large axis values would cost digits.
    if block.learning_low is not None:
        x = apart(grid.scale, Parts(block.learning_time, block.learning_low), in_parts(grid.first))
    else:
        x = jnp.log(block.learning_time / grid.first) if grid.scale == "log" else block.learning_time - grid.first
    x, steepness = x / grid.unit, jnp.minimum(block.sharpness * grid.unit, _STEEPEST)
    before, after = jax.nn.sigmoid(steepness * x), jax.nn.sigmoid(steepness * (1 - x))
    seen = before * after * -jnp.expm1(-steepness)  # σ(s(1-x)) - σ(-sx), without the difference
    outside = _said_outside(block) & ~_lies_inside(x)
    drop = block.loss_drop * jnp.where(outside, seen, 1)
    level = block.final_loss + block.loss_drop * jax.nn.sigmoid(-steepness * (1 - x))

    event = has_parameters(block.status) & (block.category != Category.UNLEARNED)
    kind = _kinds(block, event, x, steepness, drop, level)
    usable = kind <= Kind.LATE
    x, steepness = jnp.where(usable, x, 0.5), jnp.where(usable, steepness, 1.0)
    nearest, next_fraction, sharpness_bin = _sharpness_bins(grid, steepness)
    return Events(
        kind=jnp.where(jnp.arange(len(kind)) < block.number, kind, NUM_KINDS),
        resample=resample_of(block.sequence, grid.resamples),
        rises=(drop < 0).astype(jnp.int32),
        time=_time_bins(grid, kind, x),
        sharpness=sharpness_bin,
        nearest=nearest,
        next_fraction=next_fraction,
        drop=jnp.where(usable, jnp.abs(drop), 0),
        level=jnp.where(usable, level, jnp.where(kind <= Kind.CONSTANT, block.constant, 0)),
    )


def _said_outside(block):
    return (block.category == Category.EARLY) | (block.category == Category.LATE)


def _lies_inside(x):
    """Whether an event's best place is inside the window; with a wide error its likeliest category may be another."""
    return (x > _ROUNDING) & (x < 1 - _ROUNDING)


def _kinds(block, event, x, steepness, drop, level):
    constant_known = jnp.abs(block.constant) <= MOST_LOSS  # False for NaN
    rest = jnp.where(block.category == Category.UNLEARNED, Kind.UNLEARNED, Kind.CONSTANT)
    rest = jnp.where(constant_known, rest, Kind.NO_DATA)
    rest = jnp.where(block.status == Status.PENDING, Kind.PENDING, rest)
    learned = (block.category == Category.LEARNED) & (x >= -_ROUNDING) & (x <= 1 + _ROUNDING)
    at = {
        Kind.LEARNED: learned | (_said_outside(block) & _lies_inside(x)),
        Kind.EARLY: (block.category == Category.EARLY) & (x <= _ROUNDING),
        Kind.LATE: (block.category == Category.LATE) & (x >= 1 - _ROUNDING),
    }
    sound = (steepness > 0) & (jnp.abs(drop) <= MOST_LOSS) & (jnp.abs(level) <= MOST_LOSS)
    kind = jnp.full(x.shape, Kind.UNUSABLE, jnp.int32)
    for which, there in at.items():
        kind = jnp.where(there & sound, which, kind)
    return jnp.where(event, kind, rest)


def _sharpness_bins(grid, steepness):
    last = grid.sharpness_bins - 1
    borders = jnp.asarray(grid.sharpness_edges * grid.unit, jnp.float32)
    middles = LEAST_SHARPNESS * np.exp(grid.sharpness_ratio * (np.arange(last + 1) + 0.5))
    middles = jnp.asarray(middles, jnp.float32)
    logs = jnp.log(steepness / LEAST_SHARPNESS) / grid.sharpness_ratio - 0.5
    guess = jnp.clip(logs, 0, last).astype(jnp.int32)
    # Settled by comparisons: a compiler that computes the logarithm twice may round it differently, and an index
    # from the one would not fit a share from the other.
    above = (guess < last) & (steepness >= middles[jnp.minimum(guess + 1, last)])
    below = (guess > 0) & (steepness < middles[guess])
    nearest = guess + above - below
    fraction = jnp.where(nearest < last, jnp.clip(logs - nearest, 0, 1), 0)
    following = jnp.minimum(nearest + 1, last)
    return nearest, fraction, jnp.where(steepness >= borders[following], following, nearest)


def _time_bins(grid, kind, x):
    inside = jnp.clip(jnp.floor(x * grid.time_bins).astype(jnp.int32), 0, grid.time_bins - 1)
    distance = jnp.maximum(jnp.where(kind == Kind.EARLY, -x, x - 1), 2.0**-30)
    place = jnp.ceil(2 * jnp.log2(distance)).astype(jnp.int32) + grid.outside_bins - 1
    place = jnp.clip(place, 0, grid.outside_bins - 1)
    early = grid.outside_bins - 1 - place
    late = grid.outside_bins + grid.time_bins + place
    return jnp.where(kind == Kind.EARLY, early, jnp.where(kind == Kind.LATE, late, grid.outside_bins + inside))
