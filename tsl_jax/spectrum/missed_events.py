"""How much of what sigmoids miss of the mean loss's derivative tokens with a second event hold."""

import numpy as np
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from ..linalg.known import module_of
from ..pytrees import pytree
from .derivative import derivative_matrix
from .grid import SpectrumGrid
from .pulses import product


@pytree
class SecondEvents:
    """Tokens with a likely second event, and the derivative -dL/du that one event a token leaves over.

    Attributes:
        tokens: fraction of the measured losses that are of such tokens.
        missing: (points,) derivative of the mean loss minus that of the mean of the fits, nat/u.
        held: (points,) the part of it that is theirs, nat/u.
        fraction: of ``missing`` that they hold, ``Σ held·missing / Σ missing²``: fractions of all tokens add up to 1.
        constants: how much of ``missing`` tokens hold whose constant counts, since no test supports an event; likewise.
        between_runs: ``‖-d(L - L')/du‖ / (√2 ‖-dL/du‖)``, L' the mean loss of the same tokens in another run: how far
            one run's derivative lies from the mean of runs; NaN where no other run is given.
    """

    tokens: Float[Array, ""]
    missing: Float[Array, " points"]
    held: Float[Array, " points"]
    fraction: Float[Array, ""]
    constants: Float[Array, ""]
    between_runs: Float[Array, ""]


@with_own_switches
def second_events(
    grid: SpectrumGrid,
    time: Float[np.ndarray, " checkpoints"],
    gap: Float[Array, " checkpoints"],
    second_gap: Float[Array, " checkpoints"],
    constant_gap: Float[Array, " checkpoints"],
    tokens: Float[Array, ""],
    *,
    mean_loss: Float[Array, " checkpoints"] | None = None,
    other_run: Float[Array, " checkpoints"] | None = None,
    bandwidth: float = 0.1,
) -> SecondEvents:
    """What tokens with a likely second event hold of the derivative that is missing.

    Args:
        grid: bins of the spectrum; derivatives are given at its centres.
        time: (checkpoints,) axis values; those outside the window are left out.
        gap: (checkpoints,) mean loss minus mean of the fits, nat.
        second_gap: (checkpoints,) the part of it that is theirs: sums over them alone, over the number of all, nat.
        constant_gap: (checkpoints,) likewise the part of tokens whose constant counts.
        tokens: fraction of tokens with a likely second event.
        mean_loss, other_run: (checkpoints,) mean losses of the same tokens in this run and in another, nat.
        bandwidth: half the width of the smoother's kernel as a fraction of the window, as in `compare`.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.spectrum import SpectrumGrid, second_events
        >>> step = np.geomspace(1.0, 1000.0, 40)
        >>> gap = np.tanh(np.log(step) - 3)
        >>> found = second_events(SpectrumGrid(1.0, 1000.0), step, gap, 0.25 * gap, 0.5 * gap, 0.1)
        >>> round(float(found.fraction), 3)
        0.25
    """
    xp = module_of(gap, second_gap, constant_gap)
    axis = np.asarray(time, np.float64)
    margin = 1e-6 * (grid.last - grid.first)
    used = np.flatnonzero((axis >= grid.first - margin) & (axis <= grid.last + margin))
    slope = derivative_matrix(grid.coordinate(axis[used]), grid.centres, bandwidth * grid.unit)

    def derivative(values):
        values = module_of(values).asarray(values, xp.float32)[used]
        # Without the mean: slopes do not depend on it, and small numbers keep their digits.
        return product(-slope.astype(np.float32), values - xp.mean(values))

    missing, held, constant = (derivative(one) for one in (gap, second_gap, constant_gap))
    size = xp.sum(xp.square(missing))

    def fraction(part):
        return xp.where(size > 0, xp.sum(part * missing) / xp.where(size > 0, size, 1), xp.nan)

    between = xp.asarray(xp.nan)
    if mean_loss is not None and other_run is not None:
        observed = xp.sum(xp.square(derivative(mean_loss)))
        apart = xp.sum(xp.square(derivative(xp.asarray(mean_loss) - xp.asarray(other_run))))
        between = xp.where(observed > 0, xp.sqrt(apart / (2 * xp.where(observed > 0, observed, 1))), xp.nan)
    return SecondEvents(
        tokens=xp.asarray(tokens),
        missing=missing,
        held=held,
        fraction=fraction(held),
        constants=fraction(constant),
        between_runs=between,
    )
