"""Compiled programs, found again by what they are made from: JAX's own cache asks for them traced and lowered anew.

Tracing a fit takes several times as long as loading it. A program is kept under a digest of all that decides what JAX
makes: the package's sources, versions, JAX's settings, the device, and the arguments; where any of it is another, it is
made anew. It lies beside JAX's own programs, which are code from the same folder: where JAX keeps none, none is kept.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import importlib.metadata
import os
import pickle
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import serialize_executable

from ..cache import instruction_set

#: Of the environment, what XLA heeds.
_HEEDED = ("XLA_FLAGS", "NPROC")
#: Settings of JAX that programs do not depend on, by how their names begin: what is told, and what is kept.
_UNHEEDED = (
    "jax_log_",
    "jax_explain_",
    "jax_persistent_cache_",
    "jax_compilation_cache_",
    "jax_enable_compilation_cache",
)
#: Packages whose lines are traced, or decide what is.
_TRACED = ("curves", "linalg", "fitting", "store", "jobs/fit")
#: What reading a program fails with that jaxlib, or a loss of power, has damaged; and what programs cannot be written.
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    pickle.UnpicklingError,
    jax.errors.JaxRuntimeError,
)
_UNWRITABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
    pickle.PicklingError,
    jax.errors.JaxRuntimeError,
)
#: Seconds after which a file that is being written is taken for left.
_LEFT_SECONDS = 3600


def compiled_for(
    devices: Sequence[Any],
    function: Callable[..., Any],
    lower: Callable[[Any, Any], jax.stages.Lowered],
    name: str,
    made_from: tuple[Any, ...] | None,
) -> list[jax.stages.Compiled]:
    """The program of each device: on a CPU that which is kept; others are made, and kept.

    Args:
        devices: where they run.
        function: what they compute.
        lower: ``lower(jitted, device)`` traces the function for a device; called in this thread, whose settings count.
        name: of the function.
        made_from: all that decides what is made beside the package's sources, versions and settings; by its `repr`, in
            which floating-point numbers have all digits. None: nothing is kept, as where a user's code has a part.
    """
    folder = _folder() if devices[0].platform == "cpu" else None
    key = None if folder is None or made_from is None else _key(name, made_from)
    if folder is None or key is None:
        paths: list[Path | None] = [None] * len(devices)
    else:
        # Another key is another program for JAX, too: it would not be kept if it came from JAX's cache, see `_KEPT`.
        name = f"{name}_{key[:16]}"
        paths = [folder / f"tsl_jax-{_of_device(key, device)}" for device in devices]
    jitted = jax.jit(_named(function, name))
    with concurrent.futures.ThreadPoolExecutor(len(devices)) as threads:
        found = list(threads.map(_read, paths, devices))
        if folder is not None and key is not None and None in found:
            _clear(folder, name)
        lowered = [None if one else lower(jitted, device) for one, device in zip(found, devices, strict=True)]
        return list(threads.map(_compiled, found, lowered, paths))


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        return function(*arguments)

    call.__name__ = name
    return call


def _clear(folder: Path, name: str) -> None:
    """Delete what JAX has of a program that is lost here, so that it is compiled, and kept, once more; and what writers
    left that were killed."""
    left = [path for path in folder.glob("tsl_jax-*-*") if _age(path) > _LEFT_SECONDS]
    for path in (*folder.glob(f"jit_{name}-*"), *left):
        with contextlib.suppress(OSError):
            path.unlink()


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _compiled(found: Any, lowered: Any, path: Path | None) -> jax.stages.Compiled:
    if found is not None:
        return found
    _listen()
    _KEPT.here = False
    program = lowered.compile()
    if path is not None and _KEPT.here:
        _write(path, program)
    return program


#: Whether JAX has kept the program that was compiled last in this thread. If so, it was compiled just now: a program of
#: a CPU that comes from JAX's cache has lost its code when it is written once more (jaxlib 0.10.2).
_KEPT = threading.local()


@functools.cache
def _listen() -> None:
    """Let JAX tell of each program that it keeps."""

    def hear(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_misses":
            _KEPT.here = True

    jax.monitoring.register_event_listener(hear)


def _folder() -> Path | None:
    """Where JAX keeps programs; None where it keeps none, has a limit for them, or keeps them far away."""
    settings = jax.config.values
    folder = settings["jax_compilation_cache_dir"]
    if not folder or "://" in folder or not settings["jax_enable_compilation_cache"]:
        return None
    return None if settings.get("jax_compilation_cache_max_size", -1) != -1 else Path(folder)


def _key(name: str, made_from: tuple[Any, ...]) -> str | None:
    """None where the package's sources cannot be read, so that nothing tells whether they are others."""
    sources = _sources()
    names = sorted(name for name in jax.config.values if not name.startswith(_UNHEEDED))
    settings = [(name, getattr(jax.config, name, None)) for name in names]  # as they are in this thread
    parts = (name, made_from, settings, jax.default_backend(), [os.environ.get(name) for name in _HEEDED])
    return sources and _digest(f"{sources} {_versions()} {parts!r}")


def _of_device(key: str, device: Any) -> str:
    where = (device.id, device.device_kind, device.client.platform_version, len(jax.devices()), instruction_set())
    return _digest(f"{key} {where!r}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _sources() -> str | None:
    """A digest of the modules that have a part in a program: another line may make another one."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    paths = [*root.glob("*.py"), *(path for package in _TRACED for path in (root / package).rglob("*.py"))]
    try:
        for path in sorted(paths):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    except OSError:
        return None
    return digest.hexdigest() if paths else None


@functools.cache
def _versions() -> str:
    known = {"python": sys.version, "jax": jax.__version__, "numpy": np.__version__}
    return repr(known | {name: importlib.metadata.version(name) for name in ("tsl_jax", "jaxlib", "scipy")})


def _read(path: Path | None, device: Any) -> jax.stages.Compiled | None:
    """None where there is none, or one that is damaged, which is then written anew."""
    if path is None:
        return None
    try:
        digest, _, packed = path.read_bytes().partition(b"\n")
        if hashlib.sha256(packed).hexdigest().encode() != digest:
            return None
        program, arguments, results = pickle.loads(zlib.decompress(packed))
        return serialize_executable.deserialize_and_load(program, arguments, results, execution_devices=[device])
    except _UNREADABLE:
        return None


def _write(path: Path, program: jax.stages.Compiled) -> None:
    """Keep a program: whole or not at all, and where that is not possible, not."""
    try:
        packed = zlib.compress(pickle.dumps(serialize_executable.serialize(program)), 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")
        try:
            with open(handle, "wb") as file:
                file.write(hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except _UNWRITABLE:
        return
