"""A spectrum against the data: mean loss and derivative, and what causes the difference."""

import numpy as np
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from ..linalg.known import compiled, module_of
from ..pytrees import pytree, static
from .decomposition import Decomposition, Outside, Weighting, decompose, moments_of
from .derivative import derivative_matrix
from .mean_loss import loss_along
from .pulses import product
from .statistic import Moments, Spectrum


@pytree
class Score:
    """How far a curve follows a reference.

    Attributes:
        r2: ``1 - Σ(curve - reference)² / Σ(reference - its mean)²``.
        error: relative L2 error, ``√(Σ(curve - reference)² / Σ reference²)``.
    """

    r2: Float[Array, ""]
    error: Float[Array, ""]


@pytree
class Comparison:
    """Derivatives -dL/du (nat/u), all by the same smoother from values at the same checkpoints, and their distances.

    Attributes:
        u: (points,) where: the centres of the spectrum's bins.
        observed: of the mean loss.
        fitted: of the mean of the fits.
        implied: of the implied mean loss of the spectrum: as ``fitted`` but for binning.
        convolved: of the mean loss that falls by p * g.
        scores: `Score` by name, ``"<curve> of <reference>"``: ``"mean fit of mean loss"`` (values at the checkpoints,
            the error relative to the fall of the loss below its first value), ``"fitted of observed"``,
            ``"implied of observed"``, ``"convolved of observed"``, ``"convolved of implied"``.
        split: what ``observed - convolved`` consists of, as L2 norms relative to that of ``observed``: ``"sigmoid"``
            (observed - fitted: tokens are no sigmoids), ``"binning"`` (fitted - implied), ``"shared pulse"`` (implied -
            convolved) and ``"total"``. The three differences add up; their norms need not.
        bandwidth: half the width of the smoother's kernel, in u (static).
    """

    u: Float[Array, " points"]
    observed: Float[Array, " points"]
    fitted: Float[Array, " points"]
    implied: Float[Array, " points"]
    convolved: Float[Array, " points"]
    scores: dict[str, Score]
    split: dict[str, Float[Array, ""]]
    bandwidth: float = static()


@with_own_switches
def compare(
    spectrum: Spectrum | Moments,
    time: Float[Array, " checkpoints"],
    mean_loss: Float[Array, " checkpoints"],
    mean_fit: Float[Array, " checkpoints"],
    *,
    weighting: Weighting = "count",
    outside: Outside = "own",
    bandwidth: float = 0.1,
) -> Comparison:
    """Compare a spectrum with the mean loss it should explain.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.
        time: (checkpoints,) axis values; those outside the window of the spectrum, such as 0 on a log scale, are
            left out.
        mean_loss: (checkpoints,) mean of the measured losses, nat.
        mean_fit: (checkpoints,) mean of the fits over the same tokens, nat.
        weighting: of p and g, see `decompose`.
        outside: rule for events outside the window, see `decompose`.
        bandwidth: half the width of the smoother's kernel as a fraction of the window; see `derivative_matrix`.

    Returns:
        `Comparison`.

    Raises:
        ValueError: shapes disagree, or fewer than 5 checkpoints inside the window.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, compare
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
        >>> fit = tsl.fit(tsl.Sigmoid(), step, losses)
        >>> result = compare(Spectrum.from_fits(fit, step), step, losses.mean(0), fit.predict(step).mean(0))
        >>> round(float(result.scores["convolved of observed"].r2), 2)
        1.0
    """
    parts = decompose(spectrum, weighting=weighting, outside=outside)
    return compare_parts(moments_of(spectrum), parts, time, mean_loss, mean_fit, bandwidth=bandwidth)


def compare_parts(
    moments: Moments,
    parts: Decomposition,
    time: Float[Array, " checkpoints"],
    mean_loss: Float[Array, " checkpoints"],
    mean_fit: Float[Array, " checkpoints"],
    *,
    bandwidth: float = 0.1,
) -> Comparison:
    """`compare` where the spectrum is decomposed already; ``parts`` are those of ``moments``."""
    xp = module_of(moments.count)
    grid = moments.grid
    axis = np.asarray(time, np.float64)
    mean_loss, mean_fit = xp.asarray(mean_loss), xp.asarray(mean_fit)
    if not axis.shape == mean_loss.shape == mean_fit.shape or axis.ndim != 1:
        raise ValueError(
            f"mean_loss: got shapes {axis.shape}, {mean_loss.shape} and {mean_fit.shape} of time, mean_loss and "
            "mean_fit, expected one value a checkpoint in each"
        )
    margin = 1e-6 * (grid.last - grid.first)
    used = np.flatnonzero((axis >= grid.first - margin) & (axis <= grid.last + margin))
    u = grid.coordinate(axis[used])
    slope = (-derivative_matrix(u, grid.centres, bandwidth * grid.unit)).astype(np.float32)
    curves, scores, split = _compare(
        moments, parts, slope, (u - grid.origin) / grid.width, mean_loss[used], mean_fit[used]
    )
    centres = xp.asarray(grid.centres, xp.float32)
    return Comparison(centres, **curves, scores=scores, split=split, bandwidth=bandwidth * grid.unit)


_CURVES = ("observed", "fitted", "implied", "convolved")
_SCORES = (("fitted", "observed"), ("implied", "observed"), ("convolved", "observed"), ("convolved", "implied"))
_CAUSES = {
    "sigmoid": ("fitted", "observed"),
    "binning": ("implied", "fitted"),
    "shared pulse": ("convolved", "implied"),
    "total": ("convolved", "observed"),
}


@compiled()
def _compare(moments: Moments, parts: Decomposition, slope, place, mean_loss, mean_fit):
    xp = module_of(mean_loss)
    falls = [loss_along(moments, curve * moments.grid.width, place) for curve in (parts.implied, parts.convolved)]
    losses = xp.stack([mean_loss, mean_fit, *falls], 1)
    # Without the mean: slopes do not depend on it, and small numbers keep their digits.
    slopes = product(slope, losses - xp.mean(losses, 0)).T
    # All norms at once: few operations compile quickly.
    pairs = (*_SCORES, *_CAUSES.values())
    first, second = (np.array([_CURVES.index(pair[end]) for pair in pairs]) for end in (0, 1))
    distance = _norm(slopes[first] - slopes[second])
    size, spread = _norm(slopes), _norm(slopes - xp.mean(slopes, 1, keepdims=True))
    r2, error = 1 - _ratio(distance, spread[second]) ** 2, _ratio(distance, size[second])
    scores = {"mean fit of mean loss": score(mean_fit - mean_loss[0], mean_loss - mean_loss[0])}
    scores |= {f"{pair[0]} of {pair[1]}": Score(r2[i], error[i]) for i, pair in enumerate(_SCORES)}
    fraction = _ratio(distance[len(_SCORES) :], size[0])
    split = {name: fraction[i] for i, name in enumerate(_CAUSES)}
    return dict(zip(_CURVES, slopes, strict=True)), scores, split


def score(curve: Float[Array, " points"], reference: Float[Array, " points"]) -> Score:
    """`Score` of a curve; NaN where the reference is constant (r2) or zero (error)."""
    xp = module_of(curve)
    distance, spread = _norm(curve - reference), _norm(reference - xp.mean(reference))
    return Score(r2=1 - _ratio(distance, spread) ** 2, error=_ratio(distance, _norm(reference)))


def _norm(values):
    xp = module_of(values)
    return xp.sqrt(xp.sum(xp.square(values), -1))


def _ratio(value, size):
    xp = module_of(value)
    return xp.where(size > 0, value / xp.where(size > 0, size, 1), xp.nan)
