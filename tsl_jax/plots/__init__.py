"""Pictures of fits: for each first the data that would be drawn, then the drawing."""

from .learning_times import GroupTimes, LearningTimes, draw_learning_times, learning_times_data
from .mean_loss import MeanLoss, draw_mean_loss, mean_loss_data
from .spectrum_groups import GroupSpectra, draw_group_spectra, group_spectra_data
from .spectrum_modes import SingularSpectrum, draw_singular_spectrum, singular_spectrum_data
from .spectrum_parts import SpectrumParts, draw_spectrum_parts, spectrum_parts_data
from .spectrum_pulses import AlignedPulses, aligned_pulses_data, draw_aligned_pulses
from .style import save
from .tokens import TokenGrid, TokenPanel, draw_tokens, tokens_data

__all__ = [
    "AlignedPulses",
    "GroupSpectra",
    "GroupTimes",
    "LearningTimes",
    "MeanLoss",
    "SingularSpectrum",
    "SpectrumParts",
    "TokenGrid",
    "TokenPanel",
    "aligned_pulses_data",
    "draw_aligned_pulses",
    "draw_group_spectra",
    "draw_learning_times",
    "draw_mean_loss",
    "draw_singular_spectrum",
    "draw_spectrum_parts",
    "draw_tokens",
    "group_spectra_data",
    "learning_times_data",
    "mean_loss_data",
    "save",
    "singular_spectrum_data",
    "spectrum_parts_data",
    "tokens_data",
]
