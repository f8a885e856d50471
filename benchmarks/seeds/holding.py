"""Does what is said of a token hold in another training run?

    python -m benchmarks seeds [--preset cpu] [--stores FOLDER] [--text FOLDER] [--out FILE]

Runs of the package's small transformer differ in their first weights and in the order of batches alone.
`tsl_jax.collect` measures the same validation tokens (bytes) of each at geometric steps; `fit_store` fits every token
with a sigmoid of ln(step). If standard errors were all that differs between runs, 90% of the differences of a
parameter would lie within 1.645 times the two runs' errors, ``sqrt(sa² + sb²)``, and the differences in units of it
would have a half-width of 1 between their 16th and 84th percentiles. The same by when tokens are learned: much of the
text is learned early, and early tokens repeat best. The same with the components between runs that `tsl.compare`
estimates from one pair of runs, (0, 1), on a pair kept aside, (2, 3): errors of each token widened by its own run's
learning time. Also: which categories repeat, and how many of the tokens that a
run says are learned within a window (`event_probability` of 0.95 or more) are so in another run.

Loss stores in ``--stores`` are used where they are there, and made where not; fits are always made anew. Text
(`benchmarks texts`): half code, half documents, training and validation from different files.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

from .. import record

#: Sizes of an experiment: for two CPU cores (within 20 minutes), for one GPU, and for a look at the code (seconds).
PRESETS = {
    "cpu": {
        "size": (2, 4, 96), "context": 64, "batch": 32, "rate": 2e-3, "warmup": 50, "steps": 1600,
        "checkpoints": 100, "training": 48_000, "validation": 384, "seeds": 4,
    },
    "gpu": {
        "size": (4, 8, 256), "context": 128, "batch": 64, "rate": 1e-3, "warmup": 100, "steps": 8000,
        "checkpoints": 120, "training": 60_000, "validation": 1536, "seeds": 4,
    },
    "quick": {
        "size": (1, 2, 16), "context": 16, "batch": 16, "rate": 5e-3, "warmup": 10, "steps": 120,
        "checkpoints": 24, "training": 2000, "validation": 48, "seeds": 3,
    },
}  # fmt: skip

#: Windows of claims, by exponents of the last step: the middle of training.
WINDOWS = (0.4, 0.55, 0.7, 0.85)


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its tables, write its JSON."""
    options = _arguments(argv)
    preset = PRESETS[options.preset] | ({"seeds": options.seeds} if options.seeds else {})
    from .runs import stores

    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        paths, text = stores(Path(options.stores or folder), preset, options.text)
        seconds = {"stores": time.perf_counter() - begun}
        runs, fits = _fitted(paths, Path(folder))
        seconds["fits"] = time.perf_counter() - begun - seconds["stores"]
        between = kept_aside(runs, Path(folder), preset["steps"])
    result = {
        "benchmark": "seeds",
        "environment": record.environment(),
        "preset": preset,
        "text": text,
        "seconds": seconds,
        "runs": fits,
    } | compare_all(runs, preset["steps"], between)
    print(tables(result))
    return record.finish(result, options.out)


def kept_aside(runs: list, folder: Path, steps: int) -> dict | None:
    """Coverage with the components that runs 0 and 1 say, of these and of runs 2 and 3; None of fewer than four runs.

    Args:
        runs: `Run` of each.
        folder: of their fit stores, ``fits0.zarr`` and so on.
        steps: of training.
    """
    import tsl_jax as tsl

    from .statistics import widened_coverage

    if len(runs) < 4:
        return None
    components = tsl.compare(*(folder / f"fits{seed}.zarr" for seed in (0, 1))).components
    edges = [0, *(round(steps**exponent) for exponent in WINDOWS), steps]
    return {"components": components.as_dict()} | {
        f"{a}, {b}": widened_coverage(runs[a], runs[b], components, edges) for a, b in ((0, 1), (2, 3))
    }


def compare_all(runs: list, steps: int, between: dict | None = None) -> dict:
    """What every pair of runs says of each other, (0, 1) first, and every run's claims about every other."""
    from .statistics import claims, compared, window_name

    numbers = range(len(runs))
    edges = [round(steps**exponent) for exponent in WINDOWS]
    return {
        "between_runs": between,
        "pairs": {
            f"{a}, {b}": compared(runs[a], runs[b], [0, *edges, steps]) for a, b in itertools.combinations(numbers, 2)
        },
        "claims": {
            window_name(*window): {
                f"{a}, {b}": claims(runs[a], runs[b], window) for a, b in itertools.permutations(numbers, 2)
            }
            for window in itertools.pairwise(edges)
        },
    }


def _fitted(paths: list[Path], folder: Path) -> tuple[list, list[dict]]:
    """`Run` of each loss store, and how its fits went."""
    import tsl_jax as tsl

    from .statistics import read_run

    runs, found = [], []
    for number, path in enumerate(paths):
        fits, losses = folder / f"fits{number}.zarr", tsl.open_losses(path)
        summary = tsl.fit_store(path, fits, tsl.Sigmoid(scale="log"))
        runs.append(read_run(tsl.open_fits(fits)))
        found.append(
            {
                "tokens": losses.num_tokens,
                "checkpoints": losses.num_checkpoints,
                "mean_losses": losses.checkpoint_coordinates["mean_loss"].round(4).tolist(),
                "categories": {str(name): int(count) for name, count in summary.category_counts.items()},
            }
        )
    return runs, found


def tables(result: dict) -> str:
    """Tables in Markdown: parameters by pair and by learning time, categories, claims."""
    pairs, between = result["pairs"], result.get("between_runs")
    parts = [_parameters(pairs), _by_learning_time(pairs), *([_between_runs(between)] if between else [])]
    return "\n\n".join([*parts, _categories(pairs), _claims(result["claims"])])


def _parameters(pairs: dict) -> str:
    from .statistics import LEVEL, PARAMETERS

    rows = []
    for pair, found in pairs.items():
        rank = found["rank_correlation"]
        cells = [_covered(found["parameters"][name]) for name in PARAMETERS]
        rows.append([pair, f"{found['learned_in_both']:,}", *cells, "none" if rank is None else f"{rank:.3f}"])
    named = [label for label, _ in PARAMETERS.values()]
    header = ["runs", "LEARNED in both", *named, "rank correlation of learning times"]
    return f"Within the {LEVEL:.0%} interval (half-width of z):\n\n{record.table(header, rows)}"


def _by_learning_time(pairs: dict) -> str:
    from .statistics import PARAMETERS

    rows = []
    for window in next(iter(pairs.values()))["by_learning_time"]:
        found = [pair["by_learning_time"][window] for pair in pairs.values()]
        pooled = {name: _pooled([one[name] for one in found]) for name in PARAMETERS}
        cells = ["none" if not one else f"{one['share']:.1%} ({one['half_width']:.2f})" for one in pooled.values()]
        rows.append([window, f"{sum(one['learning_time']['tokens'] for one in found) / len(found):,.0f}", *cells])
    header = ["learned at step", "tokens of a pair", *(label for label, _ in PARAMETERS.values())]
    return f"The same by when tokens are learned, mean of the pairs:\n\n{record.table(header, rows)}"


def _between_runs(between: dict) -> str:
    from .statistics import PARAMETERS

    rows = []
    for pair in ("0, 1", "2, 3"):
        for name, found in between[pair].items():
            rows.append([pair, name, *(_percent(found[parameter]) for parameter in PARAMETERS)])
    header = ["runs", "tokens", *(label for label, _ in PARAMETERS.values())]
    words = "Within the 90% interval with the components that runs 0 and 1 say; runs 2 and 3 were kept aside"
    return f"{words}:\n\n{record.table(header, rows)}"


def _categories(pairs: dict) -> str:
    rows = []
    for kind in next(iter(pairs.values()))["categories"]:
        found = [pair["categories"][kind] for pair in pairs.values()]
        chance = sum(one["by_chance"] for one in found) / len(found)
        rows.append([kind, *(f"{_percent(one)} of {one['tokens']:,}" for one in found), f"{chance:.1%}"])
    return "So again in the other run:\n\n" + record.table(["", *pairs, "by chance"], rows)


def _claims(windows: dict) -> str:
    rows = []
    everything = [found for pairs in windows.values() for found in pairs.values()]
    for window, found in [(name, [*pairs.values()]) for name, pairs in windows.items()] + [("all", everything)]:
        mean = _pooled(found)
        if not mean:
            rows.append([window, "0", *["none"] * 4])
            continue
        shares = [one["share"] for one in found if one["tokens"]]
        came = f"{mean['share']:.1%} ({min(shares):.1%} to {max(shares):.1%})"
        number = sum(one["tokens"] for one in found) / len(found)
        row = [window, f"{number:,.0f}", f"{mean['claimed']:.1%}", came]
        rows.append([*row, f"{mean['in_place']:.1%}", f"{mean['by_chance']:.1%}"])
    header = ["steps", "tokens of a pair", "claimed", "came true (least to most of the pairs)"]
    header += ["learning time within", "by chance"]
    return f"Claims of events within a window:\n\n{record.table(header, rows)}"


def _pooled(found: list[dict]) -> dict:
    """Means over pairs, each as much as it has tokens; empty where none has any."""
    given = [one for one in found if one["tokens"]]
    number = sum(one["tokens"] for one in given)
    names = [name for name in (given[0] if given else {}) if name not in ("tokens", "stderr")]
    return {name: sum(one[name] * one["tokens"] for one in given) / number for name in names}


def _covered(one: dict) -> str:
    return "none" if one["share"] is None else f"{_percent(one)} ({one['half_width']:.2f})"


def _percent(found: dict) -> str:
    return "none" if found["share"] is None else f"{100 * found['share']:.1f} ± {100 * found['stderr']:.1f}%"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = record.arguments("seeds", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--quick", dest="preset", action="store_const", const="quick", help="the preset quick")
    parser.add_argument("--seeds", type=int, help="runs; by default the preset's")
    parser.add_argument("--stores", help="folder of the loss stores; by default a temporary one")
    parser.add_argument("--text", help="folder of text files; by default what comes with Python and its packages")
    options = parser.parse_args(argv)
    if options.seeds is not None and options.seeds < 2:
        parser.error(f"--seeds: got {options.seeds}, expected at least 2: runs are compared in pairs")
    return options
