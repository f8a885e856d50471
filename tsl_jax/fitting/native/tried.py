"""For which families the kernel did on this machine's devices what XLA's does: for one device, driver and build."""

import contextlib
import hashlib
import importlib.metadata
from pathlib import Path

import jax

from ...cache import compiled_folder
from .loading import build_of


def has_agreed(family: str, backend: str) -> bool:
    """Whether that was seen before, by this process or another one."""
    record = _record(family, backend)
    return record is not None and record.exists()


def keep_agreed(family: str, backend: str) -> None:
    """Remember it, where anything can be kept."""
    if record := _record(family, backend):
        with contextlib.suppress(OSError):  # a cache that can only be read
            record.touch()


def _record(family: str, backend: str) -> Path | None:
    folder = compiled_folder("tried")
    device = jax.local_devices(backend=backend)[0]
    parts = [family, build_of(backend), device.device_kind, device.client.platform_version]
    parts.append(importlib.metadata.version("jaxlib"))
    return folder and folder / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
