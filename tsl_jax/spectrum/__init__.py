"""The learning-time spectrum: why the mean loss falls as it does."""

from .blocks import TokenBlock, block_rows, folded, resample_of, token_block
from .bootstrap import Bands, bands, bands_of_sums
from .comparison import Comparison, Score, compare
from .decomposition import Decomposition, decompose
from .derivative import derivative_matrix
from .events import Kind
from .exact import MOST_ITEMS, Exact
from .forecast import Forecast, forecast, widened
from .grid import SpectrumGrid, grid_over
from .groups import GroupCounts, GroupTimes, accumulate_groups, group_bands, group_times
from .mean_loss import BinningBound, binning_bound, implied_loss
from .pulses import convolve
from .sharing import PulseGroups, PulseModes, pulse_groups, pulse_modes
from .statistic import Moments, Spectrum, accumulate, accumulate_rows
from .tail import Tail, fit_tail
from .tail_quality import Rival, tail_goodness, tail_rivals

__all__ = [
    "MOST_ITEMS",
    "Bands",
    "BinningBound",
    "Comparison",
    "Decomposition",
    "Exact",
    "Forecast",
    "GroupCounts",
    "GroupTimes",
    "Kind",
    "Moments",
    "PulseGroups",
    "PulseModes",
    "Rival",
    "Score",
    "Spectrum",
    "SpectrumGrid",
    "Tail",
    "TokenBlock",
    "accumulate",
    "accumulate_groups",
    "accumulate_rows",
    "bands",
    "bands_of_sums",
    "binning_bound",
    "block_rows",
    "compare",
    "convolve",
    "decompose",
    "derivative_matrix",
    "fit_tail",
    "folded",
    "forecast",
    "grid_over",
    "group_bands",
    "group_times",
    "implied_loss",
    "pulse_groups",
    "pulse_modes",
    "resample_of",
    "tail_goodness",
    "tail_rivals",
    "token_block",
    "widened",
]
