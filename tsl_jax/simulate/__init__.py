"""Systems whose truth is known: planted losses, a softmax student and its teacher, modular arithmetic."""

from .energies import Flow, Landscape, inverse_temperature_flow, landscape, low_temperature_constant
from .mano import Expressions, Mano, mano_batches, mano_expressions
from .positions import PlantedEvolution, PositionCurves, position_curves
from .teacher_student import TeacherStudent, TeacherStudentOptions, divergence, teacher_student
from .trajectories import PlantedLaw, Trajectories, trajectories, trajectory_blocks

__all__ = [
    "Expressions",
    "Flow",
    "Landscape",
    "Mano",
    "PlantedEvolution",
    "PlantedLaw",
    "PositionCurves",
    "TeacherStudent",
    "TeacherStudentOptions",
    "Trajectories",
    "divergence",
    "inverse_temperature_flow",
    "landscape",
    "low_temperature_constant",
    "mano_batches",
    "mano_expressions",
    "position_curves",
    "teacher_student",
    "trajectories",
    "trajectory_blocks",
]
