"""Parts that time: the project's other benchmarks, on this device and with its numbers of curves."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

#: Curves on a GPU, so that it is full; of a rehearsal, so that it ends.
_MANY, _FEW = 1 << 22, 256


def rates(rehearse: bool) -> dict:
    """Fits a second and solved fraction of both kernels and of Gpufit on one problem, with bytes and operations."""
    from ..fitting import rates as benchmark

    curves = _FEW if rehearse else _MANY
    methods = ["tsl_jax", "tsl_jax_xla", "gpufit"]
    return _result(benchmark.main, ["--curves", str(curves), "--methods", *methods], rehearse)


def lengths(rehearse: bool) -> dict:
    """Fits a second by the number of checkpoints."""
    from ..fitting import rates as benchmark

    found = {}
    for checkpoints in (16, 1024) if rehearse else (16, 32, 128, 256, 512, 1024):
        curves = _FEW if rehearse else min(_MANY, (1 << 28) // checkpoints)
        arguments = ["--curves", str(curves), "--checkpoints", str(checkpoints), "--methods", "tsl_jax"]
        found[str(checkpoints)] = _result(benchmark.main, arguments, True)
    return {"checkpoints": found}


def quality(rehearse: bool) -> dict:
    """The table of solved fits, beside which every rate stands."""
    from ..fitting import quality as benchmark

    return _result(benchmark.main, [], rehearse)


def stream(rehearse: bool) -> dict:
    """From store to store; needs zarr."""
    from ..stream import end_to_end as benchmark

    return _result(benchmark.main, ["--tokens", str(4096 if rehearse else 1 << 24)], rehearse)


def _result(benchmark: Callable[[list[str]], dict], arguments: list[str], quick: bool) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        benchmark([*arguments, *(["--quick"] if quick else []), "--out", str(path)])
        return json.loads(path.read_text())
