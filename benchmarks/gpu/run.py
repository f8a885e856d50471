"""What a GPU has to show, in one call of nine minutes: is the kernel right, how is it best laid out, how fast is it.

    python -m benchmarks.gpu [--part NAME ...] [--out FILE] [--minutes 9] [--rehearse] [--again]

Each part is a process of its own, so that one that fails takes no other with it; each prints its results as they come,
and what is done is in the JSON file from then on. Run again, it goes on with the parts that are missing; a part that is
not expected to end in time is left out, and said. ``--rehearse``: all parts on a CPU or an emulator of a GPU, with few
curves; its numbers say nothing about a GPU.

Parts: ``check`` (the native kernel against XLA's), ``tune`` (threads, curves a thread, blocks a multiprocessor; kept
for this kind of GPU), ``rates`` (fits a second of each kernel beside Gpufit's, where `TSL_GPUFIT_LIBRARY` names its
library, and the roofline), ``lengths`` (16 to 1,024 checkpoints), ``quality``, ``stream`` (store to store).
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .. import record

#: Seconds that each part is expected to take on a GPU that nothing has been compiled for.
EXPECTED = {"check": 120, "tune": 120, "rates": 90, "lengths": 60, "quality": 60, "stream": 60}
#: A part of a rehearsal that takes so many times as long has hung; on a GPU one that takes all that is left.
MOST = 4
REHEARSED = "gpu_rehearsal.json"


def main(argv: list[str] | None = None) -> dict:
    """Run the parts, one after the other, and write what they found."""
    options = _arguments(argv)
    if options.one:
        print(json.dumps(_work(options.one, options.rehearse)))
        return {}
    path, began = Path(options.out), time.monotonic()
    result: dict[str, Any] = {"benchmark": "gpu", "rehearsal": options.rehearse, "parts": {}, "left_out": []}
    result["environment"] = environment = record.environment()
    if path.exists() and not options.again:
        result["parts"] = _of_here(json.loads(path.read_text())["parts"], environment)
    print(record.describe(result["environment"]), flush=True)
    for part in options.part:
        left = 60 * options.minutes - (time.monotonic() - began)
        if part in result["parts"]:
            print(f"{part}: done before")
        elif left < EXPECTED[part] and not options.rehearse:
            result["left_out"].append(part)
            print(f"{part}: left out, {left:.0f} of its {EXPECTED[part]} seconds are left; --part {part} runs it")
        else:
            _run(part, options.rehearse, left, result)
        record.write(path, result)
    print(f"written: {path}")
    return result


def _run(part: str, rehearse: bool, seconds: float, result: dict) -> None:
    """One part in a process of its own; what it prints last is its result."""
    began, last = time.monotonic(), ""
    with subprocess.Popen(_command(part, rehearse), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        late = threading.Timer(MOST * EXPECTED[part] if rehearse else seconds, process.kill)  # it may hang
        late.daemon = True
        late.start()
        for line in process.stdout:
            if not line.startswith("{"):
                print(f"{part}: {line}", end="", flush=True)
            last = line
        late.cancel()
    took = round(time.monotonic() - began, 1)
    if process.returncode or not last.startswith("{"):
        result["left_out"].append(part)
        print(f"{part}: failed after {took} s with exit code {process.returncode}; --part {part} runs it again")
        return
    result["parts"][part] = json.loads(last) | {"seconds": took, "environment": result["environment"]}


def _of_here(parts: dict[str, Any], environment: dict) -> dict[str, Any]:
    """Those that this device did at this commit."""
    same = ("device", "commit")
    return {
        name: part
        for name, part in parts.items()
        if all(part.get("environment", {}).get(key) == environment[key] for key in same)
    }


def _command(part: str, rehearse: bool) -> list[str]:
    return [sys.executable, "-m", "benchmarks", "gpu", "--one", part, *(["--rehearse"] if rehearse else [])]


def _work(part: str, rehearse: bool) -> dict:
    from . import parts  # JAX starts with it

    return parts.PARTS[part](rehearse)


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--part", nargs="+", choices=list(EXPECTED), default=list(EXPECTED))
    parser.add_argument("--out", help="JSON file; default: benchmarks/results/gpu.json")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--rehearse", action="store_true", help="on a CPU and in an emulator, with few curves")
    parser.add_argument("--again", action="store_true", help="do what is done again")
    parser.add_argument("--one", choices=list(EXPECTED), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.out = options.out or record.RESULTS / (REHEARSED if options.rehearse else "gpu.json")
    return options
