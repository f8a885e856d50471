"""Fit of a law over model and data size: Huber's loss of ln L, many starts, a bootstrap in one batch."""

import itertools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ...arguments import known_array, probability, real_number, whole_number
from ...jax_switches import with_own_switches
from ...pytrees import pytree, static
from ..checks import random_key
from .size_laws import FLOPS_PER_PARAMETER_TOKEN, SizeLaw, epochs_of
from .size_optimum import ComputeOptimum
from .size_search import bootstrap, minimised, residual_of


@pytree
class SizeLawFit:
    """A law over model and data size, fitted.

    Attributes:
        params: the parameters by name.
        lower: lower ends of their bootstrap intervals; NaN without replicates.
        upper: upper ends.
        replicates: (replicates,) parameters of the bootstrap; NaN where a replicate has no fit.
        objective: half the sum of Huber's losses that was minimised, as `scipy` counts it.
        error: root mean square of ``ln L`` around the law.
        level: of the intervals (static).
        status: `Status`.
        law: the law (static).

    Example:
        >>> import numpy as np, tsl_jax as tsl
        >>> from tsl_jax.temporal import fit_size_law
        >>> size, tokens = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e11, 5)))
        >>> fit = fit_size_law(tsl.ChinchillaLaw(), size, tokens, 1.8 + 480 * size**-0.35 + 2000 * tokens**-0.36)
        >>> round(float(fit.predict(70e9, 1.4e12)), 3)
        1.962
    """

    params: dict[str, float]
    lower: dict[str, float]
    upper: dict[str, float]
    replicates: dict[str, Float[np.ndarray, " replicates"]]
    objective: float
    error: float
    status: int
    level: float = static()
    law: SizeLaw = static()

    def predict(
        self, size: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike | None = None
    ) -> Float[np.ndarray, "..."]:
        """The loss (nat) of models of ``size`` parameters after ``tokens`` tokens, all new or so many unique ones."""
        rows = [np.log(known_array("size", size)), np.log(known_array("tokens", tokens))]
        if self.law.counts_epochs and unique_tokens is not None:
            rows.append(np.maximum(rows[1] - np.log(known_array("unique_tokens", unique_tokens)), 0.0))
        return self._losses(self.params, *rows)

    def optimum(self, flops: ArrayLike) -> ComputeOptimum:
        """The best N and D for budgets of floating point operations, ``C = 6·N·D``, all tokens new.

        Raises:
            ValueError: a budget that is not positive and finite.
        """
        budget = np.atleast_1d(known_array("flops", flops))
        if budget.ndim != 1:
            raise ValueError(f"flops: got shape {budget.shape}, expected one budget or (budgets,)")
        for wrong in budget[~(np.isfinite(budget) & (budget > 0))]:
            raise ValueError(f"flops: got {wrong:g}, expected positive budgets, such as 1e21")
        best = self._optimum(self.params, budget)
        ends = [np.full((2, len(budget)), np.nan)] * 3
        if len(self.replicates[self.law.names[0]]):
            columns = {name: values[:, None] for name, values in self.replicates.items()}
            tails = [(1 - self.level) / 2, (1 + self.level) / 2]
            ends = [np.nanquantile(values, tails, axis=0) for values in self._optimum(columns, budget)]
        return ComputeOptimum(budget, *best, *ends)

    @with_own_switches
    def _losses(self, params: Mapping[str, ArrayLike], *rows: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            logs = {name: jnp.log(jnp.asarray(value, float)) for name, value in params.items()}
            return np.exp(np.asarray(self.law.log_loss(logs, *map(jnp.asarray, rows))))

    @with_own_switches
    def _optimum(self, params: Mapping[str, ArrayLike], budget) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        product = np.log(budget / FLOPS_PER_PARAMETER_TOKEN)
        with jax.enable_x64(True):
            logs = {name: jnp.log(jnp.asarray(value, float)) for name, value in params.items()}
            log_size = np.asarray(self.law.optimal_log_size(logs, jnp.asarray(product)))
        return np.exp(log_size), np.exp(product - log_size), self._losses(params, log_size, product - log_size)


@with_own_switches
def fit_size_law(
    law: SizeLaw,
    size: Float[ArrayLike, " runs"],
    tokens: Float[ArrayLike, " runs"],
    loss: Float[ArrayLike, " runs"],
    *,
    unique_tokens: Float[ArrayLike, " runs"] | None = None,
    huber: float = 1e-3,
    replicates: int = 0,
    level: float = 0.95,
    key: Array | None = None,
) -> SizeLawFit:
    """Fit a law of the final losses of many runs over their sizes.

        ``params = argmin Σ_runs Huber(ln L(N, D; params) - ln loss)``

    in float64, from a grid of starts. The bootstrap draws runs anew and fits each replicate from the best fit, all in
    one batch.

    Args:
        law: `ChinchillaLaw` or another `SizeLaw`.
        size: (runs,) parameters of the models.
        tokens: (runs,) tokens they were trained on.
        loss: (runs,) final or best losses, nat.
        unique_tokens: (runs,) tokens of the data set that each run repeats, for `DataConstrainedLaw`; at least as many
            as it was trained on where it repeats none.
        huber: residuals of ln L beyond this count in proportion, not squared.
        replicates: of the bootstrap; 0: none, and no intervals.
        level: of the intervals.
        key: random key of the bootstrap; by default always the same.

    Returns:
        `SizeLawFit`.

    Raises:
        TypeError: ``law`` is no `SizeLaw`, or an argument holds no real numbers.
        ValueError: shapes that disagree, values that are not positive and finite, no more runs than parameters, or runs
            of fewer than 3 sizes, numbers of tokens or losses; unique tokens that the law asks for, or does not know.

    Example:
        >>> import numpy as np, tsl_jax as tsl
        >>> from tsl_jax.temporal import fit_size_law
        >>> size, tokens = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e11, 5)))
        >>> loss = 1.8 + 480 * size**-0.35 + 2000 * tokens**-0.36
        >>> fit = fit_size_law(tsl.ChinchillaLaw(), size, tokens, loss, replicates=50)
        >>> bool(fit.lower["floor"] <= 1.8001 and fit.upper["floor"] >= 1.7999)
        True

    Source: arXiv 2203.15556, 2404.10102.
    """
    if not isinstance(law, SizeLaw):
        raise TypeError(f"law: got {type(law).__name__}, expected a law such as tsl_jax.ChinchillaLaw()")
    huber = real_number("huber", huber, "a positive number")
    if not huber > 0:
        raise ValueError(f"huber: got {huber}, expected a positive number, such as 1e-3")
    level, replicates = probability("level", level, "0.95"), whole_number("replicates", replicates, least=0)
    rows = _checked_runs(law, size, tokens, loss)
    if law.counts_epochs or unique_tokens is not None:
        rows = *rows[:2], epochs_of(law, rows[1], unique_tokens), rows[2]
    with jax.enable_x64(True):
        return _fit(law, *rows, huber, replicates, level, random_key("key", key))


def _checked_runs(law: SizeLaw, size, tokens, loss) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = known_array("size", size), known_array("tokens", tokens), known_array("loss", loss)
    if rows[0].ndim != 1 or len({values.shape for values in rows}) > 1:
        raise ValueError(f"size, tokens, loss: got shapes {[v.shape for v in rows]}, expected (runs,) for each")
    for name, values in zip(("size", "tokens", "loss"), rows, strict=True):
        good = np.isfinite(values) & (values > 0)
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(f"{name}: got {values[row]} in row {row}, expected positive numbers; leave that run out")
    if len(rows[0]) <= len(law.names):
        raise ValueError(
            f"loss: got {len(rows[0])} runs for the {len(law.names)} parameters of the law of {law.name}, expected "
            "more; train more models"
        )
    for name, values in zip(("size", "tokens", "loss"), rows, strict=True):
        if (number := len(np.unique(values))) < 3:
            raise ValueError(
                f"{name}: got {number} different value(s), expected at least 3; vary size and tokens over the runs"
            )
    return rows


def _fit(law: SizeLaw, *given) -> SizeLawFit:
    *rows, huber, replicates, level, key = given
    loss, rows = rows[-1], np.log(np.stack(rows))
    centre = rows[:2].mean(axis=1)
    rows[:2] -= centre[:, None]
    grid = law.starts(float(np.median(loss)))
    starts = np.log(list(itertools.product(*(grid[name] for name in law.names))))
    every = np.arange(rows.shape[1])[None]
    tried, objectives, _ = minimised(law, huber, starts, rows, np.repeat(every, len(starts), axis=0), rounds=4)
    near = tried[np.nanargmin(objectives)][None]
    (best,), (objective,), (status,) = minimised(law, huber, near, rows, every, exactly=True)
    drawn = bootstrap(law, huber, best, rows, replicates, key) if replicates else np.zeros((0, len(law.names)))

    def named(logs) -> dict[str, np.ndarray]:
        by_name = dict(zip(law.names, jnp.moveaxis(jnp.asarray(logs), -1, 0), strict=True))
        return {name: np.exp(np.asarray(v)) for name, v in law.shifted(by_name, -centre[0], -centre[1]).items()}

    params = {name: float(value) for name, value in named(best).items()}
    copies, tails = named(drawn), [(1 - level) / 2, (1 + level) / 2]
    ends = {name: np.nanquantile(v, tails) if replicates else np.full(2, np.nan) for name, v in copies.items()}
    left = residual_of(law)(jnp.asarray(best), jnp.asarray(rows))
    return SizeLawFit(
        params,
        {name: float(pair[0]) for name, pair in ends.items()},
        {name: float(pair[1]) for name, pair in ends.items()},
        copies,
        float(objective) / 2,
        float(jnp.sqrt(jnp.mean(left**2))),
        int(status),
        level,
        law,
    )
