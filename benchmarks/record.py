"""What every result is stored with: device, versions, commit, command; JSON files and printed tables."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def use_one_core() -> int:
    """Keep this process on one CPU core and return its number.

    Call it before NumPy and JAX are imported: their thread pools count the usable cores when they start.
    """
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def environment() -> dict:
    """Command, commit, versions and device of this run."""
    import jax

    from tsl_jax.curves import Sigmoid
    from tsl_jax.fitting import FitOptions, chosen_kernel

    def version(name):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    device = jax.devices()[0]
    packages = ("tsl_jax", "jax", "jaxlib", "numpy", "scipy", "jaxopt", "optimistix")
    return {
        "command": shlex.join(["python", "-m", "benchmarks", Path(sys.argv[0]).stem, *map(_relative, sys.argv[1:])]),
        "commit": _commit(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "platform": device.platform,
        "device": device.device_kind if device.platform != "cpu" else _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": chosen_kernel(Sigmoid(), FitOptions(), "float32"),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def describe(environment: dict) -> str:
    """The environment in a line, for under a table."""
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    cores = f", {environment['cores']} core(s)" if environment["platform"] == "cpu" else ""
    return f"{environment['device']}{cores}; {versions}; commit {environment['commit']}"


def arguments(name: str, about: str | None, *, quick: str | None = None) -> argparse.ArgumentParser:
    """The arguments that all benchmarks take: where the result goes and, where ``quick`` says of what, a short run.

    Args:
        name: of the benchmark in the list.
        about: docstring of its module; the first line is said.
        quick: what ``--quick`` runs.
    """
    parser = argparse.ArgumentParser(f"python -m benchmarks {name}", description=(about or "").split("\n")[0])
    parser.add_argument("--out", help=f"JSON file, such as benchmarks/results/{name}_cpu.json")
    if quick is not None:
        parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def output_on(cores: Iterable[int], command: Sequence[str]) -> str:
    """What a process of its own prints that has these cores."""
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return done.stdout


def finish(result: dict, out: str | Path | None, told: str = "") -> dict:
    """Print the environment and the command of a result, write it where ``out`` says, and return it."""
    print(f"\n{describe(result['environment'])}{told}\n`{result['environment']['command']}`")
    if out:
        print(f"written: {write(out, result)}")
    return result


def write(path: str | Path, result: dict) -> Path:
    """Write a result as JSON and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, columns aligned."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]

    def line(cells):
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def _relative(argument: str) -> str:
    """A path of this machine as others have it: from where the benchmark was called."""
    return os.path.relpath(argument) if os.path.isabs(argument) else argument


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def _cpu_model() -> str:
    """The processor's name, and on Linux the numbers that tell those of one name apart: Zen 4 is AMD's family 25."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    said = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    name = said.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{word} {said[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in said]
    return name + (f" ({', '.join(numbers)})" if numbers else "")
