"""Per-token losses out of models: a JAX callable, Hugging Face checkpoints, the frontier of many runs."""

from .budgets import frontier
from .checkpoints import Checkpoint, orbax_checkpoints
from .final_loss import FinalLoss, FinalLossEstimate
from .hf import collect_hf
from .hf_text import text_batches
from .job import CheckpointReport, collect
from .loss_writer import LossWriter, RestartWarning
from .token_losses import token_nll

__all__ = [
    "Checkpoint",
    "CheckpointReport",
    "FinalLoss",
    "FinalLossEstimate",
    "LossWriter",
    "RestartWarning",
    "collect",
    "collect_hf",
    "frontier",
    "orbax_checkpoints",
    "text_batches",
    "token_nll",
]
