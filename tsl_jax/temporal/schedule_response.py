"""How a loss answers to changes of the learning rate: the kernels of the annealing and the multi-power law."""

import dataclasses

import numpy as np
from jaxtyping import Float

#: Updates are merged into at most this many groups, inside which one elapsed time stands for all.
_GROUPS = 3000


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One answer of the loss to a drop of the learning rate, as a share of its full effect.

    Args:
        steps: time of the answer, in steps at the highest rate; 0 answers at once.
        power: exponent of a power kernel ``1 - (1 + n/steps)^-power``; ``None``: ``1 - exp(-n/steps)``.
        slowing: how the answer slows at lower rates: the clock counts ``(rate/highest)^(1 - slowing)`` a step, the
            rate of the drop standing for the rate; 1 counts steps.
    """

    steps: float
    power: float | None = None
    slowing: float = 1.0


#: Annealing law (arXiv 2408.11029): ``S2 = Σ drop_k (1 - λ^n) / (1 - λ)`` is the exponential kernel of 1/(1-λ) steps.
ANNEALING = (Kernel(100.0), Kernel(400.0), Kernel(1000.0), Kernel(3000.0))
#: Multi-power law (arXiv 2503.12811), around its published exponents (β 0.6, γ 0.65).
MULTI_POWER = (Kernel(3.0, 0.4, 0.65), Kernel(10.0, 0.6, 0.65), Kernel(100.0, 0.4, 0.65), Kernel(100.0, 0.8, 0.65))


def response(
    learning_rate: Float[np.ndarray, " updates"], step: Float[np.ndarray, " rows"], kernel: Kernel
) -> Float[np.ndarray, " rows"]:
    """``Σ_k drop_k/highest · G(steps since k)``: what drops of the rate have brought by each step.

    1 when a rate that fell from its highest value to 0 long ago has had its full effect. Only what comes after the
    highest rate counts: the warm-up is no annealing.

    Args:
        learning_rate: (updates,) rate of every update, from update 1.
        step: (rows,) updates done, increasing.
        kernel: the answer to one drop.
    """
    rate = np.asarray(learning_rate, np.float64)
    highest = rate.max()
    top = int(np.argmax(rate))
    drop = np.zeros(len(rate))
    drop[top + 1 :] = (rate[top:-1] - rate[top + 1 :]) / highest
    update = np.flatnonzero(drop)
    if not update.size:
        return np.zeros(len(step))
    group = (np.arange(len(update)) * min(_GROUPS, len(update))) // len(update)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    # Each group keeps its total; a group of rises and drops that cancel still has a time, the mean of its updates.
    total = np.add.reduceat(drop[update], starts)
    when = np.add.reduceat(update.astype(np.float64), starts) / np.diff(starts, append=len(update))
    if kernel.slowing == 1.0:
        elapsed = np.asarray(step, np.float64)[:, None] - when
    else:
        passed = np.concatenate([[0.0], np.cumsum(rate / highest)])
        there = np.interp(step, np.arange(len(passed)), passed)[:, None]
        since = np.interp(when, np.arange(len(passed)), passed)
        reached = np.maximum(np.interp(when, np.arange(len(rate)), rate) / highest, 1e-6)
        elapsed = (there - since) * reached**-kernel.slowing
    share = _share(np.maximum(elapsed, 0.0) / max(kernel.steps, 1e-9), kernel.power)
    return np.where(elapsed > 0, share, 0.0) @ total


def _share(x, power: float | None):
    return -np.expm1(-x) if power is None else -np.expm1(-power * np.log1p(x))
