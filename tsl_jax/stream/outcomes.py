"""What comes of a task in another process: a value, or an error that says where it was."""

import dataclasses
import importlib.metadata
import os
import socket
from collections.abc import Callable
from typing import Any

from ..messages import marked
from ..store import StoreError


class WorkerError(StoreError, RuntimeError):
    """Workers cannot be reached, cannot do the work, or died too often."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a task: a value, or an error of it. Only workers that are lost are tried again."""

    value: Any = None
    error: Exception | None = None
    where: str = ""


def attempt(function: Callable[..., Any], *arguments: Any) -> Outcome:
    """Call a function in a worker; errors come back as values."""
    try:
        return Outcome(function(*arguments))
    except Exception as error:
        failure = error  # raised where the task came from
    return Outcome(error=_sendable(marked(failure)), where=f"process {os.getpid()} on {socket.gethostname()}")


def value_of(outcome: Outcome) -> Any:
    """The value; or raises the error, which says in which worker it was."""
    if outcome.error is None:
        return outcome.value
    if isinstance(outcome.error, StoreError):
        first, *more = outcome.error.args or ("",)
        outcome.error.args = (f"{first} (In the worker {outcome.where}.)", *more)
    else:
        outcome.error.__notes__ = [f"In the worker {outcome.where}.", *getattr(outcome.error, "__notes__", ())]
    raise outcome.error


def package_version() -> str:
    """What a worker must have, too."""
    return importlib.metadata.version("tsl_jax")


def refuse_other_version(version: str) -> None:
    """Raise if this process has another version of the package than a run.

    Raises:
        WorkerError: both versions.
    """
    if package_version() != version:
        raise WorkerError(
            f"It has tsl_jax {package_version()}, the run {version}: install the same version everywhere, and run the "
            "same again."
        )


def _sendable(error: Exception) -> Exception:
    """An error that another process can read: of the package's own and of Python's kinds as it is."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    if isinstance(error, StoreError) or type(error).__module__ == "builtins":
        return error
    return WorkerError(f"{type(error).__name__}: {error}")
