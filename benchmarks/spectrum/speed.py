"""Speed and memory of the learning-time spectrum: events sorted per second, convolution, the whole command.

    python -m benchmarks spectrum [--tokens N ...] [--out FILE] [--quick]

Fit stores are drawn on the fly (no engine runs): learning times from a power law, sharpness lognormal, 256 tokens a
sequence. Sorting is timed on one block that is on the device, streamed from a store, and against NumPy's histogram2d on
the same bins; the exact derivative against the direct sum over tokens. `tsl spectrum` runs in a process of its own,
with groups, bands and pictures; its peak memory is that of the process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import record

SECONDS_ALLOWED = 20.0
CHECKPOINTS, LAST_STEP, SEQUENCE = 64, 1e5, 256
_BLOCK = 2**20


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its tables, write its JSON."""
    options = _arguments(argv)
    commands = []
    with tempfile.TemporaryDirectory() as folder:
        for tokens in options.tokens:
            path = Path(folder) / f"{tokens}"
            path.mkdir()
            started = time.perf_counter()
            write_fits(path, tokens)
            print(f"store of {tokens:,} fits written in {time.perf_counter() - started:.1f} s", file=sys.stderr)
            commands.append(_command(path, tokens))
        rates = _rates(Path(folder) / f"{max(options.tokens)}" / "fits.zarr", options)
    result = {
        "benchmark": "spectrum",
        "seconds_allowed": SECONDS_ALLOWED,
        "environment": record.environment(),
        "load_average": os.getloadavg()[0],
        "rates": rates,
        "convolution": _convolution(),
        "command": commands,
    }
    print(_tables(result))
    return record.finish(result, options.out, f"; load average at the end {result['load_average']:.1f}")


def drawn(seed: int, tokens: int) -> dict[str, np.ndarray]:
    """Columns of fits: a tenth each early and late or without an event, falls and rises."""
    from tsl_jax.fitting import Category, Status

    rng = np.random.default_rng(seed)
    time = 30 * rng.random(tokens, np.float32) ** -1.0  # p(a) ∝ a^-2 above 30
    time[: tokens // 50] = 0.3
    category = np.where(time < 1, Category.EARLY, np.where(time > LAST_STEP, Category.LATE, Category.LEARNED))
    category[-tokens // 20 :] = Category.UNLEARNED
    return {
        "learning_time": np.minimum(time, 1e8).astype(np.float32),
        "sharpness": np.exp(rng.standard_normal(tokens, np.float32)),
        "loss_drop": (4 * rng.random(tokens, np.float32) - 0.4).astype(np.float32),
        "final_loss": 3 * rng.random(tokens, np.float32),
        "constant": 5 * rng.random(tokens, np.float32),
        "status": np.full(tokens, Status.CONVERGED, np.uint8),
        "category": category.astype(np.uint8),
    }


def write_fits(folder: Path, tokens: int) -> None:
    """A finished fit store of any size beside an empty loss store."""
    import dataclasses

    from tsl_jax import FitOptions, Sigmoid, __version__
    from tsl_jax.store import (
        PROBABILITY_ARRAYS,
        BlockState,
        FitHeader,
        FitWriter,
        InputDigest,
        Layout,
        create_losses,
        locate,
        resume_or_create,
        writer_lock,
    )

    step = np.geomspace(1, LAST_STEP, CHECKPOINTS)
    number = np.arange(tokens)
    coordinates = {
        "sequence": (number // SEQUENCE).astype("int32"),
        "position": (number % SEQUENCE).astype("int16"),
        "domain": (number // SEQUENCE % 5).astype("int8"),
    }
    losses = create_losses(
        folder / "losses.zarr", (tokens, CHECKPOINTS), checkpoints={"step": step}, tokens=coordinates
    )
    header = FitHeader(
        family="sigmoid",
        family_fields={"scale": "log"},
        parameters={parameter.name: parameter.unit for parameter in Sigmoid.parameters},
        scale="log",
        axis="step",
        options=dataclasses.asdict(FitOptions()),
        dtype="float32",
        package_version=__version__,
        event=Sigmoid.event,
    )
    location = locate(folder / "fits.zarr", writable=True)
    with writer_lock(location):
        writer = FitWriter(resume_or_create(location, losses, header, Layout(_BLOCK // 8, _BLOCK, _BLOCK)))
        for block, start in enumerate(range(0, tokens, _BLOCK)):
            size = min(_BLOCK, tokens - start)
            columns = drawn(block, size)
            # What a spectrum does not read.
            rest = {f"{name}_stderr": np.zeros(size, np.float32) for name in Sigmoid().names}
            rest |= {name: np.zeros(size, np.float32) for name in ("rss", "r2")}
            rest |= {"num_points": np.full(size, CHECKPOINTS, np.int32)}
            rest |= {name: np.zeros(size, np.float16) for name in ("noise_correlation", "effective_points")}
            rest |= {name: np.zeros(size, np.uint8) for name in PROBABILITY_ARRAYS.values()}
            rest |= {name: column[start : start + size] for name, column in coordinates.items()}
            writer.write(block, columns | rest)
            writer.finish(block, BlockState.FINISHED, InputDigest(0, 0), columns["status"], columns["category"])


def _command(folder: Path, tokens: int) -> dict:
    """`tsl spectrum` in a process of its own."""
    command = [sys.executable, "-m", "tsl_jax.cli", "spectrum", str(folder / "fits.zarr"), "--json"]
    command += ["--out", str(folder / "pictures")]
    started = time.perf_counter()
    with (
        open(folder / "said.json", "w") as said,
        subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as process,
    ):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    told = json.loads((folder / "said.json").read_text())
    if told["tokens"] != tokens:
        raise RuntimeError(f"tsl spectrum counted {told['tokens']:,} of {tokens:,} tokens")
    return {
        "tokens": tokens,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "tail_exponent": told["tail"]["count"]["exponent"],
    }


def _rates(path: Path, options: argparse.Namespace) -> dict:
    """Tokens per second of every way to sort events, and to sum their pulses."""
    import jax
    import jax.numpy as jnp

    from tsl_jax.jobs import read_spectrum
    from tsl_jax.spectrum import Spectrum, SpectrumGrid, accumulate, block_rows, decompose, token_block

    grid = SpectrumGrid(1.0, LAST_STEP)
    number = 2**18
    columns = drawn(0, number)
    sequence = np.arange(number) // SEQUENCE
    rows = block_rows(columns, columns["constant"], columns["status"], columns["category"], sequence)
    block = jax.device_put(token_block(rows, number))
    spectrum = accumulate(Spectrum.empty(grid), block)

    def on_device():
        nonlocal spectrum
        spectrum = jax.block_until_ready(accumulate(spectrum, block))

    log_time = np.log(columns["learning_time"].astype(np.float64))
    log_sharpness = np.log(columns["sharpness"].astype(np.float64))
    bins = [grid.edges, np.log(grid.sharpness_edges)]

    def histogram2d():
        np.histogram2d(log_time, log_sharpness, bins)
        np.histogram2d(log_time, log_sharpness, bins, weights=columns["loss_drop"])

    u, few = jnp.asarray(grid.centres, jnp.float32), 2**14
    u_learn, sharpness = jnp.asarray(log_time[:few], jnp.float32), jnp.asarray(columns["sharpness"][:few])
    drop = jnp.asarray(columns["loss_drop"][:few])

    @jax.jit
    def direct_sum(u_learn, sharpness, drop):
        half = 0.5 * sharpness[:, None] * (u - u_learn[:, None])
        return jnp.sum((0.25 * drop * sharpness)[:, None] / jnp.square(jnp.cosh(jnp.clip(half, -40, 40))), 0)

    moments = spectrum.moments()
    sort = _seconds(on_device, 2 if options.quick else 10)
    started = time.perf_counter()
    streamed = read_spectrum(path).spectrum
    jax.block_until_ready(streamed)
    streaming = time.perf_counter() - started
    return {
        "block_tokens": number,
        "on_device": number / sort,
        "streamed": sum(streamed.tokens.values()) / streaming,
        "numpy_histogram2d": number / _seconds(histogram2d, 3),
        "direct_sum_at_512_points": few / _seconds(lambda: direct_sum(u_learn, sharpness, drop).block_until_ready(), 3),
        "derivative_from_histogram_seconds": _seconds(lambda: jax.block_until_ready(decompose(moments)), 10),
    }


def _convolution(points: int = 4096) -> dict:
    """Seconds of p * g on a grid of this many points, by FFT and directly."""
    import jax
    import jax.numpy as jnp

    from tsl_jax.spectrum import convolve

    rng = np.random.default_rng(0)
    p, g = rng.random(points, np.float32), rng.random(2 * points + 1, np.float32)
    fast, on_device = jax.jit(convolve), (jnp.asarray(p), jnp.asarray(g))
    difference = np.max(np.abs(np.asarray(fast(*on_device)) - np.convolve(p, g.astype(float))[points : 2 * points]))
    return {
        "points": points,
        "fft_seconds": _seconds(lambda: fast(*on_device).block_until_ready(), 20),
        "direct_seconds": _seconds(lambda: np.convolve(p, g), 3),
        "greatest_difference": float(difference / points),
    }


def _seconds(function: Callable[[], object], repeats: int) -> float:
    """Median of some runs after one that compiles."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def _tables(result: dict) -> str:
    rates = result["rates"]
    names = {
        "on_device": "sorted on the device (exact, by resample group)",
        "streamed": "streamed from a fit store",
        "numpy_histogram2d": "numpy.histogram2d, counts and drops",
        "direct_sum_at_512_points": "direct sum of pulses at 512 points (no histogram)",
    }
    rows = [[text, f"{rates[name]:,.0f}"] for name, text in names.items()]
    convolution = result["convolution"]
    commands = [
        [
            f"{run['tokens']:,}",
            f"{run['seconds']:.1f} s",
            f"{run['cpu_seconds']:.1f} s",
            f"{run['peak_bytes'] / 2**20:,.0f} MiB",
            "yes" if run["seconds"] <= SECONDS_ALLOWED else "NO",
        ]
        for run in result["command"]
    ]
    return "\n".join(
        [
            record.table(["tokens a second", "rate"], rows),
            f"\np * g on {convolution['points']:,} points: {1e3 * convolution['fft_seconds']:.2f} ms by FFT, "
            f"{1e3 * convolution['direct_seconds']:.1f} ms directly; derivative from the histogram, however many "
            f"tokens: {1e3 * rates['derivative_from_histogram_seconds']:.1f} ms\n",
            record.table(["tsl spectrum on", "wall", "CPU", "peak memory", f"within {SECONDS_ALLOWED:g} s"], commands),
        ]
    )


def _arguments(argv) -> argparse.Namespace:
    parser = record.arguments("spectrum", __doc__, quick="one store of 50,000 fits")
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000], help="sizes of the stores"
    )
    options = parser.parse_args(argv)
    if options.quick:
        options.tokens = [50_000]
    return options
