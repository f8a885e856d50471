"""Systems whose truth is known: planted losses, a softmax student and its teacher, modular arithmetic."""

from .positions import PlantedEvolution, PositionCurves, position_curves
from .trajectories import PlantedLaw, Trajectories, trajectories, trajectory_blocks

__all__ = [
    "PlantedEvolution",
    "PlantedLaw",
    "PositionCurves",
    "Trajectories",
    "position_curves",
    "trajectories",
    "trajectory_blocks",
]
