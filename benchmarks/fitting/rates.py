"""Fits per second and solved fraction of `tsl_jax` and its peers on the same problems in one run.

    python -m benchmarks fitting [--curves N] [--checkpoints 64] [--out FILE] [--quick]
    python -m benchmarks fitting --suite [--problems NAME ...] [--out FILE] [--quick]

One problem, or with ``--suite`` the table of problems in `benchmarks suite`. On one CPU core (the process is pinned to
it before NumPy and JAX start); on a GPU if JAX finds one. Compile time is apart from run time, which is the median of
rounds that run every method once; the spread is that of slowest and fastest over it. Every method is judged on the
first curves of the same problem; solved means rss within 1% of the best known over all methods that keep plateaus at 0
or above: an exhaustive search, and `tsl_jax`. The peers leave plateaus free, which can only help them here. Beside
each rate stand the operations that were counted (`benchmarks operations`) and the bytes that a fit cannot do without,
beside the copy bandwidth and the speed of a matrix product that were measured on the same core. Gpufit takes part
where `TSL_GPUFIT_LIBRARY` names its library; see `benchmarks gpufit`. On a CPU `tsl_jax` stands there twice: with its
kernel in C++, and with the one that XLA compiles.
"""

import argparse

from .. import record

#: Curves for each method: about 3 s a repeat for the peers on a core, so that the whole run stays within minutes.
SIZES = {"tsl_jax_xla": 65_536, "jaxopt": 32_768, "optimistix": 16_384, "scipy": 1_000, "gpufit": 32_768}


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    options = _arguments(argv)
    core = record.use_one_core()
    result = (_suite if options.suite else _one_problem)(options)
    result |= {"pinned_to_core": core, "roofline": _roofline(options.quick), "environment": record.environment()}
    if options.suite:
        from . import suite

        print(suite.table(result["problems"]))
    else:
        print(table(result))
        print(f"\n{result['problem']['name']}, float32 (scipy: float64).")
    limits = result["roofline"]
    print(f"This core: copies {limits['copy_bytes_per_second'] / 1e9:.1f} GB/s, ", end="")
    print(f"matrix product {limits['flops_per_second'] / 1e9:.0f} GFLOP/s.")
    return record.finish(result, options.out)


def _one_problem(options: argparse.Namespace) -> dict:
    # Only now: thread pools start with these imports.
    from . import measure, problems

    problem = problems.sigmoids(options.seed, options.curves, options.checkpoints, options.spacing)
    sizes = _sizes(options)
    parts = {method: problem[: sizes[method]] for method in options.methods}
    found = measure.measure(parts, options.repeats, counted=not options.quick)
    measure.judge(problem, found, min(options.judged, options.curves))
    return {
        "benchmark": "fitting",
        "problem": {
            "name": problem.name,
            "seed": options.seed,
            "checkpoints": options.checkpoints,
            "noise": "0.01 to 1 of the drop, log-uniform",
        },
        "methods": found,
    }


def _suite(options: argparse.Namespace) -> dict:
    from . import suite

    names = options.problems or (suite.FEW if options.quick else list(suite.TABLE))
    unknown = set(names) - set(suite.TABLE)
    if unknown:
        raise SystemExit(f"--problems: got {sorted(unknown)}, expected some of {list(suite.TABLE)}")
    limits = {"judged": options.judged, "repeats": options.repeats, "seed": options.seed}
    limits["counted"] = not options.quick
    return {"benchmark": "suite", "problems": suite.run(names, options.methods, _sizes(options), **limits)}


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    """Curves for each of the methods."""
    share = 16 if options.quick else 1
    sizes = {method: SIZES[method] // share if method in SIZES else options.curves for method in options.methods}
    return {method: min(size, options.curves) for method, size in sizes.items()}


def _roofline(quick: bool) -> dict[str, float]:
    """What this core can do at most, measured after the methods ran on it."""
    from tsl_jax.stream.machine import copy_bandwidth, peak_flops

    seconds = 0.05 if quick else 1.0
    return {
        "copy_bytes_per_second": copy_bandwidth(seconds=seconds),
        "flops_per_second": peak_flops(seconds=seconds),
    }


def table(result: dict) -> str:
    """One row a method."""
    ours = result["methods"].get("tsl_jax")
    header = ["method", "fits/s", "tsl_jax is faster by", "solved", "compile", "curves timed", "spread"]
    header += ["memory", "kFLOP a fit", "GFLOP/s"]
    rows = []
    for name, entry in result["methods"].items():
        if "lacking" in entry:
            rows.append([name, "lacking", entry["lacking"], *[""] * (len(header) - 3)])
            continue
        rate, peak, flops = entry["fits_per_second"], entry.get("peak_memory_bytes"), entry.get("flops_per_fit")
        rows.append(
            [
                f"{name} {entry['version']}",
                f"{rate:,.0f}",
                f"{ours['fits_per_second'] / rate:,.1f}" if ours else "-",
                f"{100 * entry['solved']:.2f}% of {entry['judged']:,}",
                f"{entry['compile_seconds']:.2f} s",
                f"{entry['curves']:,}",
                f"{100 * entry['spread']:.0f}%" if "spread" in entry else "-",
                "-" if peak is None else f"{peak / 2**20:,.0f} MiB",
                "-" if flops is None else f"{flops / 1e3:,.0f}",
                "-" if flops is None else f"{entry['flops_per_second'] / 1e9:.1f}",
            ]
        )
    known = [column for column in range(len(header)) if any(row[column] not in ("", "-") for row in rows)]
    return record.table([header[column] for column in known], [[row[column] for column in known] for row in rows])


def _arguments(argv) -> argparse.Namespace:
    parser = record.arguments("fitting", __doc__, quick="a few seconds: fewer curves, one repeat")
    parser.add_argument("--suite", action="store_true", help="the whole table of problems")
    parser.add_argument("--problems", nargs="+", help="only these rows of the table, such as 'sigmoids, 128'")
    parser.add_argument("--curves", type=int, help="curves for tsl_jax (peers get fewer); 262,144, suite: 65,536")
    parser.add_argument("--checkpoints", type=int, default=64)
    parser.add_argument("--spacing", choices=("geometric", "even"), default="geometric")
    parser.add_argument("--judged", type=int, help="curves compared with the best known; 8,192, suite: 2,048")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    methods = ["tsl_jax", *SIZES]
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods, help="which to run")
    options = parser.parse_args(argv)
    options.curves = options.curves or (65_536 if options.suite else 262_144)
    options.judged = options.judged or (2048 if options.suite else 8192)
    if options.quick:
        options.curves, options.judged = min(options.curves, 16_384), min(options.judged, 1024)
        options.repeats = 1
    return options
