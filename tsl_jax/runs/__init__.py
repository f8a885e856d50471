"""Several training runs with the same tokens: what repeats, how far apart they lie, and their fits combined."""

from .combine import CombinedTokens, combine_runs, combined_statistic
from .comparing import CompareRuns, RunBlock
from .component import RunComponent, estimate_component
from .components import RunComponents, with_run_components
from .coordinates import Coordinate, coordinates_of
from .counts import RunCounts
from .plan import RESAMPLES, ComparisonPlan, plan_comparison
from .ranks import rank_correlation
from .results import KindRepeats, PairComparison, ParameterComparison, RunComparison, SharpnessGroup
from .time_factors import TimeFactors
from .tokens import FittedTokens, RunTokens, TokenKind, kinds_of

__all__ = [
    "RESAMPLES",
    "CombinedTokens",
    "CompareRuns",
    "ComparisonPlan",
    "Coordinate",
    "FittedTokens",
    "KindRepeats",
    "PairComparison",
    "ParameterComparison",
    "RunBlock",
    "RunComparison",
    "RunComponent",
    "RunComponents",
    "RunCounts",
    "RunTokens",
    "SharpnessGroup",
    "TimeFactors",
    "TokenKind",
    "combine_runs",
    "combined_statistic",
    "coordinates_of",
    "estimate_component",
    "kinds_of",
    "plan_comparison",
    "rank_correlation",
    "with_run_components",
]
