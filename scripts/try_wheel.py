"""Tries a wheel in new environments, each of a Python and a requirement of jax; packages are fetched.

    python scripts/try_wheel.py dist/tsl_jax-*.whl python3.11 'jax==0.8.0' python3.13 jax

Whatever jaxlib there is, the kernel that the wheel brought must fit, as XLA's does, and `tsl demo` run, all without a
compiler.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import importlib.metadata, platform
import numpy as np
import tsl_jax as tsl
from tsl_jax.fitting.native import build_of

assert tsl.load_kernel() is None, tsl.load_kernel()
step, true = np.geomspace(1, 1000, 40), [20.0, 30.0, 200.0]
losses = 1 + 6 / (1 + (step / np.array(true)[:, None]) ** 2)
for kernel in ("native", "xla"):
    fit = tsl.fit(tsl.Sigmoid(), step, losses, options=tsl.FitOptions(kernel=kernel))
    np.testing.assert_allclose(fit.params["learning_time"], true, rtol=1e-3)
versions = [f"{name} {importlib.metadata.version(name)}" for name in ("tsl_jax", "jax", "jaxlib", "numpy")]
print(f"Python {platform.python_version()}", *versions, f"kernel {build_of('cpu')}", sep=", ", flush=True)
"""


def try_in(folder: Path, wheel: str, python: str, requirement: str) -> None:
    """Make an environment, install and run."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    own = str(folder / "bin" / "python")
    subprocess.run([own, "-m", "pip", "install", "--quiet", os.path.abspath(wheel), requirement], check=True)
    alone = {"cwd": folder, "env": {"PATH": str(folder / "bin"), "HOME": str(folder)}, "check": True}
    subprocess.run([own, "-W", "error", "-c", PROGRAM], **alone)
    subprocess.run([str(folder / "bin" / "tsl"), "demo", "--out", "demo"], **alone)


def main(wheel: str, *pairs: str) -> None:
    """One environment after the other."""
    for python, requirement in zip(pairs[::2], pairs[1::2], strict=True):
        with tempfile.TemporaryDirectory() as folder:
            try_in(Path(folder), wheel, python, requirement)


if __name__ == "__main__":
    main(*sys.argv[1:])
