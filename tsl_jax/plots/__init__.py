"""Pictures of fits: for each first the data that would be drawn, then the drawing."""

from .learning_times import GroupTimes, LearningTimes, draw_learning_times, learning_times_data
from .mean_loss import MeanLoss, draw_mean_loss, mean_loss_data
from .style import save
from .tokens import TokenGrid, TokenPanel, draw_tokens, tokens_data

__all__ = [
    "GroupTimes",
    "LearningTimes",
    "MeanLoss",
    "TokenGrid",
    "TokenPanel",
    "draw_learning_times",
    "draw_mean_loss",
    "draw_tokens",
    "learning_times_data",
    "mean_loss_data",
    "save",
    "tokens_data",
]
