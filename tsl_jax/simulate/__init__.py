"""Systems whose truth is known: planted losses, a softmax student and its teacher, modular arithmetic."""

from .energies import Flow, Landscape, inverse_temperature_flow, landscape, low_temperature_constant
from .expressions import Expressions, mano_batches, mano_expressions
from .mano import Mano
from .mano_training import ManoTraining, mano_loss, train_mano
from .planted_curves import PlantedLaw, Trajectories, trajectories, trajectory_blocks
from .positions import PlantedEvolution, PositionCurves, position_curves
from .softmax_student import TeacherStudent, TeacherStudentOptions, divergence, teacher_student
from .transformer import TRANSFORMERS, Transformer, init_transformer, transformer_states

__all__ = [
    "TRANSFORMERS",
    "Expressions",
    "Flow",
    "Landscape",
    "Mano",
    "ManoTraining",
    "PlantedEvolution",
    "PlantedLaw",
    "PositionCurves",
    "TeacherStudent",
    "TeacherStudentOptions",
    "Trajectories",
    "Transformer",
    "divergence",
    "init_transformer",
    "inverse_temperature_flow",
    "landscape",
    "low_temperature_constant",
    "mano_batches",
    "mano_expressions",
    "mano_loss",
    "position_curves",
    "teacher_student",
    "train_mano",
    "trajectories",
    "trajectory_blocks",
    "transformer_states",
]
