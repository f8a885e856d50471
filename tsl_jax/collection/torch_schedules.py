"""The learning rates that a scheduler of PyTorch will give."""

from typing import Any

import numpy as np


def rates_of_scheduler(scheduler: Any, updates: int) -> np.ndarray | None:
    """Rate of each of the first updates, of the first group of parameters.

    Args:
        scheduler: a ``LambdaLR`` that steps once an update, as ``transformers`` makes, accelerate's wrapper around one
            too.
        updates: how many.

    Returns:
        (updates,); None for schedulers of other kinds, whose future depends on their state.

    Example:
        >>> class Scheduler:
        ...     base_lrs, lr_lambdas = [0.1], [lambda update: 1 / (1 + update)]
        >>> rates_of_scheduler(Scheduler(), 2).tolist()
        [0.1, 0.05]
    """
    scheduler = getattr(scheduler, "scheduler", scheduler)
    functions, rates = getattr(scheduler, "lr_lambdas", None), getattr(scheduler, "base_lrs", None)
    if not functions or not rates or functions[0] is None:
        return None
    return np.array([rates[0] * functions[0](update) for update in range(updates)], np.float64)
