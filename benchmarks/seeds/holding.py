"""Does what is said of a token hold in another training run?

    python -m benchmarks seeds [--preset cpu] [--stores FOLDER] [--text FOLDER] [--out FILE]

Runs of the package's small transformer differ in their first weights and in the order of batches alone.
`tsl_jax.collect` measures the same validation tokens (bytes) of each at geometric steps; `fit_store` fits every token
with a sigmoid of ln(step). If standard errors were all that differs between runs, 90% of the differences of a
parameter would lie within 1.645 times the two runs' errors, ``sqrt(sa² + sb²)``, and the differences in units of it
would have a half-width of 1 between their 16th and 84th percentiles. The same by when tokens are learned: much of the
text is learned early, and early tokens repeat best. The same with the components between runs that `tsl.compare`
estimates from one pair of runs, (0, 1), on a pair kept aside, (2, 3): errors of each token widened by its own run's
learning time. Also: which categories repeat, and how many of the tokens that `tsl score` says are learned within a
window in another run are so, by how likely it says that is; from one run alone, whose defaults
(`tsl_jax.reshape.Repeats`) come from runs 0 and 1, and with the components of these two.

Loss stores in ``--stores`` are used where they are there, and made where not; fits are always made anew. Text
(`benchmarks texts`): half code, half documents, training and validation from different files.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

from .. import record
from .tables import tables

#: Sizes of an experiment: for two CPU cores (within 20 minutes), for one GPU, another model (a few minutes), and for a
#: look at the code (seconds).
PRESETS = {
    "cpu": {
        "size": (2, 4, 96), "context": 64, "batch": 32, "rate": 2e-3, "warmup": 50, "steps": 1600,
        "checkpoints": 100, "training": 48_000, "validation": 384, "seeds": 4,
    },
    "gpu": {
        "size": (4, 8, 256), "context": 128, "batch": 64, "rate": 1e-3, "warmup": 100, "steps": 8000,
        "checkpoints": 120, "training": 60_000, "validation": 1536, "seeds": 4,
    },
    "small": {
        "size": (1, 4, 64), "context": 48, "batch": 24, "rate": 4e-3, "warmup": 30, "steps": 1000,
        "checkpoints": 64, "training": 24_000, "validation": 512, "seeds": 2,
    },
    "quick": {
        "size": (1, 2, 16), "context": 16, "batch": 16, "rate": 5e-3, "warmup": 10, "steps": 120,
        "checkpoints": 24, "training": 2000, "validation": 48, "seeds": 3,
    },
}  # fmt: skip

#: Windows of claims begin at these exponents of the last step.
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

    from .claims import claims
    from .statistics import widened_coverage, window_name

    if len(runs) < 4:
        return None
    components = tsl.compare(*(folder / f"fits{seed}.zarr" for seed in (0, 1))).components
    edges = [0, *_edges(steps)]
    found: dict = {"components": components.as_dict()} | {
        f"{a}, {b}": widened_coverage(runs[a], runs[b], components, edges) for a, b in ((0, 1), (2, 3))
    }
    return found | {
        "claims": {
            window_name(*window): {
                f"{a}, {b}": claims(runs[a], runs[b], window, components) for a, b in ((2, 3), (3, 2))
            }
            for window in itertools.pairwise(edges[1:])
        }
    }


def _edges(steps: int) -> list[int]:
    """Edges of the windows of claims, the last step among them."""
    return [*(round(steps**exponent) for exponent in WINDOWS), steps]


def compare_all(runs: list, steps: int, between: dict | None = None) -> dict:
    """What every pair of runs says of each other, (0, 1) first, and every run's claims about every other."""
    from .claims import claims
    from .statistics import compared, window_name

    numbers = range(len(runs))
    edges = _edges(steps)
    return {
        "between_runs": between,
        "pairs": {f"{a}, {b}": compared(runs[a], runs[b], [0, *edges]) for a, b in itertools.combinations(numbers, 2)},
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
