"""What a command takes the first time, and from then on: CPU seconds and programs, without and with a cache of them.

    python -m benchmarks cold [--repeats N] [--out FILE]

Commands on the sample data, each in a process of its own on one core, first with an empty folder for JAX's compiled
programs, then with what that run left there. The kernel in C++ and the modules' bytecode are there before, as in an
installed package. Seconds are the least of the repeats: what else the machine does only adds to them.
"""

import compileall
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import record

#: What is measured, in this order: what `fit` writes `spectrum` reads.
COMMANDS = ("fit", "positions", "spectrum", "forecast")
#: What JAX says of each program that it compiles or takes from the cache, where it is asked to.
_COMPILED = "Finished XLA compilation of"


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    record.use_one_core()
    parser = record.arguments("cold", __doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each command, of which the least count")
    options = parser.parse_args(argv)
    environment = record.environment()  # builds the kernel, in a checkout
    compileall.compile_dir(str(Path(__file__).parents[1] / "tsl_jax"), quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        commands = [_measured(Path(folder), name, options.repeats) for name in COMMANDS]
    result = {"benchmark": "cold", "environment": environment, "repeats": options.repeats, "commands": commands}
    print(table(result))
    return record.finish(result, options.out, f"; load average {environment['load_average']:.1f}")


def _measured(folder: Path, name: str, repeats: int) -> dict:
    """The least seconds of one command without and with its programs, and how many they are."""
    pairs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=folder) as programs:
            pairs.append([_run(folder, name, Path(programs)) for _ in ("empty", "warm")])
    least = {kind: min(pair[k][0] for pair in pairs) for k, kind in enumerate(("empty", "warm"))}
    return {"command": name, "cpu_seconds": least, "programs": pairs[0][0][1]}


def _run(folder: Path, name: str, programs: Path) -> tuple[float, int]:
    """CPU seconds and programs of a process."""
    from tsl_jax.data import sample_path

    sample, fits = str(sample_path()), str(folder / "fits.zarr")
    given = {
        "fit": [sample, fits, "--overwrite"],
        "positions": [sample],
        "spectrum": [fits, "--losses", sample],
        "forecast": [sample, "--until", "3200", "--schedule", "none"],
    }[name]
    variables = {"JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_LOG_COMPILES": "1"}
    with (
        open(folder / "told", "w+") as told,
        subprocess.Popen(
            [sys.executable, "-m", "tsl_jax", name, *given, "--json"],
            stdout=subprocess.DEVNULL,
            stderr=told,
            env=os.environ | variables,
            cwd=Path(__file__).parents[1],
        ) as process,
    ):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said = (folder / "told").read_text()
    if process.returncode:
        raise RuntimeError(f"tsl {name} ended with {process.returncode}: {said[-500:]}")
    return used.ru_utime + used.ru_stime, said.count(_COMPILED)


def table(result: dict) -> str:
    """Commands: seconds without and with a cache, and their programs."""
    rows = [
        [
            f"`tsl {run['command']}`",
            *(f"{run['cpu_seconds'][kind]:.1f} s" for kind in ("empty", "warm")),
            str(run["programs"]),
        ]
        for run in result["commands"]
    ]
    return record.table(["", "nothing compiled before", "again", "programs"], rows)
