"""Does the schedule that laws prefer train better than cosine and WSD?

    python -m benchmarks schedule_choice [--preset cpu] [--text FOLDER] [--out FILE]

A byte-level transformer is trained with a constant rate, with cosine and with WSD (linear decay over the last fifth),
some seeds each. `tsl_jax.best_schedule` fits its laws to the mean validation losses of these, and names a schedule for
as many updates, with the gain that it predicts over cosine and WSD. Then runs with the same seeds, which draw the same
rows in the same order, train with the chosen schedule. Reported: the predicted and the real gain at the last update,
side by side. Cosine and WSD are the runs that the laws were fitted to; the chosen schedule no law has seen.
"""

import time

import numpy as np

from .. import record

#: For two CPU cores (about a quarter of an hour), for one GPU, and for a look at the code.
PRESETS = {
    "cpu": {
        "size": (2, 2, 32), "context": 32, "batch": 32, "peak": 6e-3, "lowest": 6e-4, "warmup": 60, "steps": 1500,
        "every": 30, "seeds": 3, "reference": 40_000, "validation": 512,
    },
    "gpu": {
        "size": (4, 8, 256), "context": 128, "batch": 128, "peak": 2e-3, "lowest": 2e-4, "warmup": 200, "steps": 6000,
        "every": 100, "seeds": 3, "reference": 40_000, "validation": 1024,
    },
    "quick": {
        "size": (1, 2, 16), "context": 16, "batch": 8, "peak": 6e-3, "lowest": 6e-4, "warmup": 10, "steps": 120,
        "every": 5, "seeds": 2, "reference": 2000, "validation": 64,
    },
}  # fmt: skip


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    parser = record.arguments("schedule_choice", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--quick", dest="preset", action="store_const", const="quick", help="the preset quick")
    parser.add_argument("--text", help="folder of text files; by default what comes with Python and its packages")
    options = parser.parse_args(argv)
    preset = PRESETS[options.preset]
    from ..texts import split_texts

    rows, text = split_texts(
        options.text, {name: preset[name] for name in ("reference", "validation")}, preset["context"]
    )
    begun, at = time.perf_counter(), checkpoints(preset)
    curves = {name: _runs(name, rates, at, rows, preset) for name, rates in fitted_schedules(preset).items()}
    seconds = {"fitted runs": time.perf_counter() - begun}
    found = chosen(curves, at, preset)
    seconds["choice"] = time.perf_counter() - begun - seconds["fitted runs"]
    curves["chosen"] = _runs(f"chosen ({found.shape})", found.learning_rate, at, rows, preset)
    result = {
        "benchmark": "schedule_choice",
        "environment": record.environment(),
        "preset": preset,
        "text": text,
        "seconds": seconds,
        "choice": describe(found),
        "gains": {name: gain(found, name, curves) for name in found.gain},
        "curves": {"step": at.tolist()} | {name: loss.round(5).tolist() for name, loss in curves.items()},
    }
    print(table(result))
    return record.finish(result, options.out)


def checkpoints(preset: dict) -> np.ndarray:
    """Updates after which losses are measured: from the end of the warm-up to the last."""
    return np.append(np.arange(preset["warmup"], preset["steps"], preset["every"]), preset["steps"])


def fitted_schedules(preset: dict) -> dict[str, np.ndarray]:
    """The rates of the runs that laws are fitted to."""
    count, warmup = np.arange(1, preset["steps"] + 1), preset["warmup"]
    done = np.clip((count - warmup) / (preset["steps"] - warmup), 0, 1)
    falls = {
        "constant": np.zeros_like(done),
        "cosine": (1 - np.cos(np.pi * done)) / 2,
        "wsd": np.clip((done - 0.8) / 0.2, 0, 1),
    }
    room = preset["peak"] - preset["lowest"]
    return {name: np.minimum(count / warmup, 1) * (preset["peak"] - room * fall) for name, fall in falls.items()}


def _runs(name: str, rates: np.ndarray, at: np.ndarray, rows: dict, preset: dict) -> np.ndarray:
    """(seeds, checkpoints) validation losses."""
    from .schedule_runs import trained

    found = np.stack([trained(seed, rates, at, rows, preset) for seed in range(preset["seeds"])])
    print(f"{name}: last loss {np.array2string(found[:, -1], precision=4)}", flush=True)
    return found


def chosen(curves: dict[str, np.ndarray], at: np.ndarray, preset: dict):
    """What `best_schedule` finds from the mean losses of each schedule's runs."""
    from tsl_jax.temporal import SizeRuns, best_schedule, history, join_histories, schedule_from_rates

    schedules = fitted_schedules(preset)
    joined = join_histories([history(schedule_from_rates(schedules[name]), at) for name in curves])
    loss = np.concatenate([each.mean(axis=0) for each in curves.values()])
    runs = SizeRuns(joined, loss, np.repeat(np.arange(len(curves)), len(at)))
    return best_schedule(runs, preset["steps"], warmup_steps=preset["warmup"])


def describe(found) -> dict:
    """A choice as JSON holds it."""
    return {
        "shape": found.shape,
        "params": dict(found.params),
        "loss": found.loss,
        "tried": {name: [loss, dict(params)] for name, (loss, params) in found.tried.items()},
        "laws": [repr(fit.law) for fit in found.fits],
        "misfit": found.misfit,
        "warnings": list(found.warnings),
        "learning_rate": found.learning_rate.tolist(),
    }


def gain(found, name: str, curves: dict[str, np.ndarray]) -> dict:
    """Predicted and real gain over a schedule at the last update, nat."""
    from ..reweighting.curves import summary

    return {
        "predicted": found.gain[name],
        "interval": [found.lower[name], found.upper[name]],
        "real": summary((curves[name][:, -1] - curves["chosen"][:, -1]).tolist()),
    }


def table(result: dict) -> str:
    """Predicted and real gains."""
    rows = []
    for name, each in result["gains"].items():
        predicted = f"{each['predicted']:.4f} ({each['interval'][0]:.4f} to {each['interval'][1]:.4f})"
        real = each["real"]
        seeds = ", ".join(f"{value:.4f}" for value in real["seeds"])
        rows.append(
            [name, predicted, f"{real['mean']:.4f} ({real['interval'][0]:.4f} to {real['interval'][1]:.4f})", seeds]
        )
    return record.table(["gain over", "predicted (nat), 90%", "real (nat), 95% over seeds", "seeds"], rows)
