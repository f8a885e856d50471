"""Per-token losses out of models: a JAX callable, Hugging Face checkpoints, the frontier of many runs."""

from .budgets import frontier
from .checkpoints import Checkpoint, orbax_checkpoints
from .hf import collect_hf
from .job import CheckpointReport, collect
from .loss_writer import LossWriter, RestartWarning
from .token_losses import token_nll

__all__ = [
    "Checkpoint",
    "CheckpointReport",
    "LossWriter",
    "RestartWarning",
    "collect",
    "collect_hf",
    "frontier",
    "orbax_checkpoints",
    "token_nll",
]
