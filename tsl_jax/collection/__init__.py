"""Per-token losses out of models: a JAX callable, Hugging Face checkpoints, the frontier of many runs.

`tsl_jax.collect` is this package and its main function at once: ``tsl_jax.collect(loss_fn, checkpoints, ...)``.
"""

import sys
import types

from .budgets import frontier
from .checkpoints import Checkpoint, orbax_checkpoints
from .hf import collect_hf
from .job import CheckpointReport, collect

__all__ = ["Checkpoint", "CheckpointReport", "collect", "collect_hf", "frontier", "orbax_checkpoints"]


class _Callable(types.ModuleType):
    __call__ = staticmethod(collect)


sys.modules[__name__].__class__ = _Callable
