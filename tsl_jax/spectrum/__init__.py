"""The learning-time spectrum: why the mean loss falls as it does."""

from .blocks import TokenBlock, block_rows, folded, resample_of, token_block
from .bootstrap import Bands, bands, bands_of_sums
from .comparison import Comparison, Score, compare
from .continuation import SpectrumForecast, forecast, widened
from .decomposition import Decomposition, decompose
from .derivative import derivative_matrix
from .events import Kind
from .exact import MOST_ITEMS, Exact
from .grid import SpectrumGrid, grid_over
from .groups import GroupCounts, GroupTimes, accumulate_groups, group_bands, group_times
from .mean_loss import BinningBound, binning_bound, implied_loss
from .missed_events import SecondEvents, second_events
from .modes import PulseModes, pulse_modes
from .pulses import convolve
from .sharing import PulseGroups, pulse_groups
from .statistic import Moments, Spectrum, accumulate, accumulate_rows
from .tail.fit import Tail, fit_tail
from .tail.quality import Rival, tail_goodness, tail_rivals
from .time_errors import Broadening, TimeErrors, broadening

__all__ = [
    "MOST_ITEMS",
    "Bands",
    "BinningBound",
    "Broadening",
    "Comparison",
    "Decomposition",
    "Exact",
    "GroupCounts",
    "GroupTimes",
    "Kind",
    "Moments",
    "PulseGroups",
    "PulseModes",
    "Rival",
    "Score",
    "SecondEvents",
    "Spectrum",
    "SpectrumForecast",
    "SpectrumGrid",
    "Tail",
    "TimeErrors",
    "TokenBlock",
    "accumulate",
    "accumulate_groups",
    "accumulate_rows",
    "bands",
    "bands_of_sums",
    "binning_bound",
    "block_rows",
    "broadening",
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
    "second_events",
    "tail_goodness",
    "tail_rivals",
    "token_block",
    "widened",
]
