"""Pictures of fits and forecasts: for each first the data that would be drawn, then the drawing, then a file.

``NAME_data(...)`` returns plain arrays in a frozen dataclass, ``draw_NAME(data)`` a figure of Matplotlib, `save` writes
it as the ending of its file says. No global state of Matplotlib is read or changed.

`tokens_data`, `learning_times_data` and `mean_loss_data` take open stores, their paths, or fits in memory with their
axis (``time=``); `plot_tokens` reads and draws at once. Pictures of a spectrum take what `tsl_jax.jobs.analyse` returns
for a store, those of laws and forecasts what `tsl_jax.temporal` returns, that of runs what `tsl_jax.compare` does.

Example:
    >>> import jax.numpy as jnp, tempfile, pathlib, tsl_jax as tsl
    >>> step = jnp.geomspace(1.0, 1000.0, 40)
    >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.array([[30.0], [100.0], [110.0]])) ** 2)
    >>> fit = tsl.fit(tsl.Sigmoid(), step, losses)
    >>> times = learning_times_data(fit, time=step, bins=4)
    >>> times.groups[0].falling.tolist(), round(times.groups[0].median)
    ([0, 1, 2, 0], 100)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(draw_learning_times(times), f"{folder}/pictures/times.svg")
    ...     [path.name for path in pathlib.Path(folder, "pictures").iterdir()]
    ['times.svg']
"""

from ..jobs.learning_times import DomainTimes, LearningTimes, learning_times_data
from .forecast import ForecastCurves, draw_forecast, forecast_data
from .learning_times import draw_learning_times
from .mean_loss import MeanLoss, draw_mean_loss, mean_loss_data
from .position_forecast import PositionForecastCurves, draw_position_forecast, position_forecast_data
from .position_law import PositionPanels, draw_position_law, position_law_data
from .rank import RankBars, draw_rank, rank_data
from .run_comparison import RunComparisonData, draw_run_comparison, run_comparison_data
from .scaling import ScalingCurves, draw_scaling, scaling_data
from .schedule import ScheduleCurves, draw_schedule, schedule_data
from .spectrum.groups import GroupSpectra, draw_group_spectra, group_spectra_data
from .spectrum.modes import SingularSpectrum, draw_singular_spectrum, singular_spectrum_data
from .spectrum.parts import SpectrumParts, draw_spectrum_parts, spectrum_parts_data
from .spectrum.pulses import AlignedPulses, aligned_pulses_data, draw_aligned_pulses
from .style import save
from .timescale import TimescaleLine, draw_timescale, timescale_data
from .token_panels import draw_tokens, plot_tokens
from .tokens import TokenGrid, TokenPanel, tokens_data

__all__ = [
    "AlignedPulses",
    "DomainTimes",
    "ForecastCurves",
    "GroupSpectra",
    "LearningTimes",
    "MeanLoss",
    "PositionForecastCurves",
    "PositionPanels",
    "RankBars",
    "RunComparisonData",
    "ScalingCurves",
    "ScheduleCurves",
    "SingularSpectrum",
    "SpectrumParts",
    "TimescaleLine",
    "TokenGrid",
    "TokenPanel",
    "aligned_pulses_data",
    "draw_aligned_pulses",
    "draw_forecast",
    "draw_group_spectra",
    "draw_learning_times",
    "draw_mean_loss",
    "draw_position_forecast",
    "draw_position_law",
    "draw_rank",
    "draw_run_comparison",
    "draw_scaling",
    "draw_schedule",
    "draw_singular_spectrum",
    "draw_spectrum_parts",
    "draw_timescale",
    "draw_tokens",
    "forecast_data",
    "group_spectra_data",
    "learning_times_data",
    "mean_loss_data",
    "plot_tokens",
    "position_forecast_data",
    "position_law_data",
    "rank_data",
    "run_comparison_data",
    "save",
    "scaling_data",
    "schedule_data",
    "singular_spectrum_data",
    "spectrum_parts_data",
    "timescale_data",
    "tokens_data",
]
