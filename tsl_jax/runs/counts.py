"""What a comparison of runs counts: whole numbers, whose sums do not depend on any order."""

import dataclasses

import numpy as np
from jaxtyping import Int

from .plan import DIFFERENCE_BINS, ERROR_BINS, RANK_BINS, RESAMPLES, SHARPNESS_GROUPS, TIME_BINS, Z_BINS, ComparisonPlan
from .tokens import TokenKind

#: A table of errors (rows) and sizes of differences (columns).
SCATTER_SHAPE = (ERROR_BINS.number, DIFFERENCE_BINS.number)


@dataclasses.dataclass(frozen=True)
class RunCounts:
    """Tokens counted; ``pairs`` are those of the plan, ``kinds`` the compared ones, ``parameters`` in their order.

    Attributes:
        kinds: (pairs, kinds, kinds) tokens by their `TokenKind` in the two runs.
        ranks: (pairs, compared, parameters, bins, bins) tokens by the bins of their values in the two runs.
        differences: (pairs, compared, parameters, bins) by sign and size of the second run's value less the first's.
        z: (pairs, compared, parameters, bins) by sign and size of that difference in units of its standard error.
        scatter: (pairs, compared, parameters, times, errors, differences) by the mean learning time, the root mean
            square of the two errors and the size of the difference.
        resampled: (resamples, compared, parameters, errors, differences) the same over all pairs and learning times, by
            group of tokens.
        sharp_ranks: (pairs, groups, bins, bins) as `ranks`, of falling events by their sharpness.
        sharp_scatter: (pairs, groups, times, errors, differences) as `scatter`, likewise.
        times: (pairs, bins, bins) falling events by their learning times in the two runs.
    """

    kinds: Int[np.ndarray, "pairs kinds kinds"]
    ranks: Int[np.ndarray, "pairs compared parameters bins bins"]
    differences: Int[np.ndarray, "pairs compared parameters bins"]
    z: Int[np.ndarray, "pairs compared parameters bins"]
    scatter: Int[np.ndarray, "pairs compared parameters times errors differences"]
    resampled: Int[np.ndarray, "resamples compared parameters errors differences"]
    sharp_ranks: Int[np.ndarray, "pairs groups bins bins"]
    sharp_scatter: Int[np.ndarray, "pairs groups times errors differences"]
    times: Int[np.ndarray, "pairs bins bins"]

    @classmethod
    def zeros(cls, plan: ComparisonPlan) -> "RunCounts":
        """Counts of no tokens."""
        pairs, kinds, parameters = len(plan.pairs), len(plan.compared), len(plan.names)
        each, groups = (pairs, kinds, parameters), SHARPNESS_GROUPS if plan.event else 0
        times = len(plan.component_edges) + 1
        shapes = {
            "kinds": (pairs, len(TokenKind), len(TokenKind)),
            "ranks": (*each, RANK_BINS, RANK_BINS),
            "differences": (*each, 2 * DIFFERENCE_BINS.number),
            "z": (*each, 2 * Z_BINS.number),
            "scatter": (*each, times, *SCATTER_SHAPE),
            "resampled": (RESAMPLES, kinds, parameters, *SCATTER_SHAPE),
            "sharp_ranks": (pairs, groups, RANK_BINS, RANK_BINS),
            "sharp_scatter": (pairs, groups, times, *SCATTER_SHAPE),
            "times": (pairs, TIME_BINS, TIME_BINS),
        }
        return cls(**{name: np.zeros(shape, np.int64) for name, shape in shapes.items()})

    def __add__(self, other: "RunCounts") -> "RunCounts":
        return RunCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(RunCounts)))


def count(total: np.ndarray, *index: np.ndarray) -> None:
    """Add one for each token to its cell."""
    flat = np.ravel_multi_index(tuple(np.asarray(one, np.int64) for one in index), total.shape)
    if len(flat) * 16 < total.size:  # few tokens: touch only their cells
        np.add.at(total, np.unravel_index(flat, total.shape), 1)
    else:
        total += np.bincount(flat, minlength=total.size).reshape(total.shape)
