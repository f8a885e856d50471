"""Fits per second and solved fraction of `tsl_jax` and its peers on the same problems in one run.

    python -m benchmarks.fitting [--curves N] [--checkpoints 64] [--out FILE] [--quick]

On one CPU core (the process is pinned to it before NumPy and JAX start); on a GPU if JAX finds one. Compile
time is apart from run time, which is the median of the repeats. Every method is judged on the first curves of
the same problem; solved means rss within 1% of the best known over all methods that keep plateaus at 0 or
above: the exhaustive search of `benchmarks.search`, and `tsl_jax`. The peers leave plateaus free, which can
only help them here.
"""

import argparse
import statistics
import time

from . import record


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    options = _arguments(argv)
    core = record.use_one_core()
    # Only now: thread pools start with these imports.
    from . import oracle, peers, problems

    problem = problems.sigmoids(options.seed, options.curves, options.checkpoints, options.spacing)
    judged = min(options.judged, options.curves)
    best = oracle.best_known(problem[:judged])
    # Sizes keep the whole run within minutes: about 3 s a repeat for the peers.
    sizes = {"tsl_jax": options.curves, "jaxopt": 32_768, "optimistix": 16_384, "scipy": 1_000}
    measured = {}
    for method in options.methods:
        num = min(sizes[method] // (16 if options.quick and method != "tsl_jax" else 1), options.curves)
        measured[method] = _measure(peers.METHODS[method][0], problem[:num], options.repeats)
        measured[method]["version"] = peers.version(method)
    if "tsl_jax" in measured:
        best = oracle.with_better(problem[:judged], best, measured["tsl_jax"]["params"])
    for entry in measured.values():
        params = {name: value[:judged] for name, value in entry.pop("params").items()}
        num = len(params["learning_time"])
        part, part_best = problem[:num], best[:num]
        entry["judged"] = num
        entry["solved"] = float(oracle.solved(part, oracle.rss_of(part, params), part_best).mean())
    result = {
        "benchmark": "fitting",
        "problem": {
            "name": problem.name,
            "seed": options.seed,
            "checkpoints": options.checkpoints,
            "noise": "0.01 to 1 of the drop, log-uniform",
        },
        "pinned_to_core": core,
        "environment": record.environment(),
        "methods": measured,
    }
    print(_table(result))
    print(f"\n{problem.name}, float32 (scipy: float64). {record.describe(result['environment'])}")
    print(f"`{result['environment']['command']}`")
    if options.out:
        print(f"written: {record.write(options.out, result)}")
    return result


def _measure(adapter, problem, repeats: int) -> dict:
    run = adapter(problem)
    seconds = []
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        params = run(problem.losses)
        seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds[1:])
    return {
        "curves": len(problem),
        "fits_per_second": len(problem) / median,
        "seconds": seconds[1:],
        "compile_seconds": max(0.0, seconds[0] - median),
        "params": params,
    }


def _table(result: dict) -> str:
    methods = result["methods"]
    ours = methods.get("tsl_jax")
    rows = []
    for name, entry in methods.items():
        rate = entry["fits_per_second"]
        ratio = f"{ours['fits_per_second'] / rate:,.1f}" if ours else "-"
        rows.append(
            [
                f"{name} {entry['version']}",
                f"{rate:,.0f}",
                ratio,
                f"{100 * entry['solved']:.2f}% of {entry['judged']:,}",
                f"{entry['compile_seconds']:.2f} s",
                f"{entry['curves']:,}",
            ]
        )
    return record.table(["method", "fits/s", "tsl_jax is faster by", "solved", "compile", "curves timed"], rows)


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.fitting", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--curves", type=int, default=262_144, help="curves for tsl_jax (peers get fewer)")
    parser.add_argument("--checkpoints", type=int, default=64)
    parser.add_argument("--spacing", choices=("geometric", "even"), default="geometric")
    parser.add_argument("--judged", type=int, default=8192, help="curves compared with the best known")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--methods", nargs="+", default=["tsl_jax", "jaxopt", "optimistix", "scipy"], help="which to run"
    )
    parser.add_argument("--out", help="JSON file, such as benchmarks/results/fitting_cpu.json")
    parser.add_argument("--quick", action="store_true", help="a few seconds: fewer curves, one repeat")
    options = parser.parse_args(argv)
    if options.quick:
        options.curves, options.judged = min(options.curves, 16_384), min(options.judged, 1024)
        options.repeats = 1
    return options


if __name__ == "__main__":
    main()
