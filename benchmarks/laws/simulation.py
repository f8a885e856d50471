"""Softmax students of peaked teachers: all temperatures at once against one at a time, and the laws they follow.

    python -m benchmarks simulation [--temperatures 8] [--speed-steps 300] [--law-steps 40000] [--out FILE] [--quick]

Speed: seconds of a run over all temperatures in one program, and of one run for each of them, compile time apart,
medians of repeats in turns; all share inputs and teachers in both. Laws (width 32, 128 classes): at high temperature
the correlation of ln(loss) with dynamic time and with its logarithm; at low temperature the exponents of the loss and
of the logit spread in dynamic time, from a spread of `FROZEN` on, beside those of the landscape's gradient flow; how
well runs of several learning rates fall on one line in dynamic time and in steps.
"""

import argparse
import statistics
import time
from typing import Literal

from .. import record

#: Logit spread from which rows count: four times where a landscape of 128 classes freezes, √(2 ln 128) = 3.1.
FROZEN = 12.0
COLD, HOT = (0.001, 0.01), (0.3, 1.0)


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its tables, write its JSON."""
    options = _arguments(argv)
    result = {
        "benchmark": "simulation",
        "environment": record.environment(),
        "speed": [_speed(optimizer, options) for optimizer in ("adam", "sgd")],
        "laws": {optimizer: _laws(optimizer, options) for optimizer in ("sgd", "adam") if options.law_steps},
    }
    print(_speed_table(result["speed"]))
    if result["laws"]:
        print(f"\n{_law_table(result['laws'])}")
    return record.finish(result, options.out)


def _speed(optimizer: Literal["adam", "sgd"], options: argparse.Namespace) -> dict:
    import numpy as np

    from tsl_jax.simulate import TeacherStudentOptions

    setting = TeacherStudentOptions(batch=options.batch, optimizer=optimizer)
    temperatures = np.geomspace(0.01, 1.0, options.temperatures)
    steps = [options.speed_steps]
    together, apart = [], []
    # In turns, so that what else the machine does hits both alike; the first of each compiles.
    for _ in range(options.repeats + 1):
        together.append(_seconds(lambda: [_run(temperatures, 1e-2, steps, setting)]))
        apart.append(_seconds(lambda: [_run(t, 1e-2, steps, setting) for t in temperatures]))
    return {
        "optimizer": optimizer,
        "temperatures": options.temperatures,
        "steps": options.speed_steps,
        "batch": options.batch,
        "together": together[1:],
        "apart": apart[1:],
        "compile_seconds": together[0] - statistics.median(together[1:]),
        "ratio": statistics.median(b / a for a, b in zip(together[1:], apart[1:], strict=True)),
    }


def _run(temperature, rate, steps, setting, seeds=1):
    from tsl_jax.simulate import teacher_student

    return teacher_student(temperature, rate, steps, seeds=seeds, options=setting)


def _seconds(run) -> float:
    import jax

    begin = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begin


def _laws(optimizer: Literal["adam", "sgd"], options: argparse.Namespace) -> dict:
    import jax
    import numpy as np

    from tsl_jax.simulate import TeacherStudentOptions

    setting = TeacherStudentOptions(batch=options.law_batch, evaluation=4096, optimizer=optimizer)
    fastest = {"sgd": options.sgd_rate, "adam": options.adam_rate}[optimizer]
    begin = time.perf_counter()
    # The coldest teacher once, the other one with three learning rates.
    temperatures, rates = np.array([*COLD, COLD[-1], COLD[-1]]), fastest * np.array([1.0, 1.0, 0.5, 0.25])
    steps = np.unique(np.geomspace(1, options.law_steps, 100).astype(int))
    runs = jax.tree.map(np.asarray, _run(temperatures, rates, steps, setting, options.seeds))
    short = jax.tree.map(np.asarray, _run(HOT, fastest / 3, np.arange(5, 2000, 5), setting, options.seeds))
    seconds = time.perf_counter() - begin
    cold = [_cold(runs, i, seed, setting.classes) for i in range(len(COLD)) for seed in range(options.seeds)]
    hot = [_hot(short, i, seed) for i in range(len(HOT)) for seed in range(options.seeds)]
    same = [i for i, t in enumerate(temperatures) if t == COLD[-1]]
    return {
        "seconds": seconds,
        "steps": options.law_steps,
        "batch": options.law_batch,
        "cold": cold,
        "hot": hot,
        "collapse": [_collapsed(runs, same, seed) for seed in range(options.seeds)],
    }


def _cold(runs, setting: int, seed: int, classes: int) -> dict:
    import numpy as np

    from tsl_jax.simulate import inverse_temperature_flow
    from tsl_jax.temporal import growth_exponent, time_law

    spread, tau = runs.logit_spread[setting, seed], runs.lr_sum[setting]
    temperature = float(runs.temperature[setting])
    rows = (spread > FROZEN) & (spread < 0.5 / temperature)
    law, growth = (
        time_law(tau[rows], runs.loss[setting, seed][rows], least_floor=None),
        growth_exponent(tau[rows], spread[rows]),
    )
    # What gradient flow along the teacher's direction gives over the same range of the spread.
    flow = inverse_temperature_flow(np.geomspace(1e-1, 1e8, 400), 1 / temperature, classes=classes, samples=8192)
    same = (flow.beta > spread[rows][0]) & (flow.beta < spread[rows][-1])
    theory = (
        time_law(flow.time[same], flow.loss[same], least_floor=None),
        growth_exponent(flow.time[same], flow.beta[same]),
    )
    return {
        "temperature": temperature,
        "seed": seed,
        "rows": int(rows.sum()),
        "lr_sum": [float(tau[rows][0]), float(tau[rows][-1])],
        "spread": [float(spread[rows][0]), float(spread[rows][-1])],
        "exponent": float(law.params["exponent"]),
        "stderr": float(law.stderr["exponent"]),
        "interval": [float(law.exponent_lower), float(law.exponent_upper)],
        "floor": float(law.params["floor"]),
        "r2": float(law.r2),
        "third_p_value": float(law.third_p_value),
        "growth": float(growth.exponent),
        "growth_stderr": float(growth.exponent_stderr),
        "theory": {"exponent": float(theory[0].params["exponent"]), "growth": float(theory[1].exponent)},
    }


def _hot(runs, setting: int, seed: int) -> dict:
    import numpy as np

    loss, tau = runs.loss[setting, seed], runs.lr_sum[setting]
    # The first fall through six decades: float32, and Adam's steps, keep the loss from falling for ever.
    fallen = np.argmax(loss < 1e-9) if (loss < 1e-9).any() else len(loss)
    rows = (np.arange(len(loss)) < fallen) & (loss < 1e-3)
    y = np.log(loss[rows])
    found = {"temperature": float(runs.temperature[setting]), "seed": seed, "rows": int(rows.sum())}
    if rows.sum() < 5:
        return found
    found |= {"r2_exponential": float(np.corrcoef(tau[rows], y)[0, 1] ** 2)}
    return found | {"r2_power_law": float(np.corrcoef(np.log(tau[rows]), y)[0, 1] ** 2)}


def _collapsed(runs, settings: list[int], seed: int) -> dict:
    from tsl_jax.temporal import collapse

    losses = [runs.loss[i, seed] for i in settings]
    time, step = collapse([runs.lr_sum[i] for i in settings], losses), collapse([runs.step] * len(settings), losses)
    return {
        "seed": seed,
        "learning_rates": [float(runs.learning_rate[i]) for i in settings],
        "dynamic_time": {"spread": float(time.spread), "unexplained": float(time.unexplained)},
        "step": {"spread": float(step.spread), "unexplained": float(step.unexplained)},
    }


def _speed_table(entries: list[dict]) -> str:
    header = ["optimizer", "temperatures", "all at once (s)", "one at a time (s)", "ratio", "compile (s)"]
    rows = [
        [
            entry["optimizer"],
            str(entry["temperatures"]),
            f"{statistics.median(entry['together']):.2f}",
            f"{statistics.median(entry['apart']):.2f}",
            f"{entry['ratio']:.1f}",
            f"{entry['compile_seconds']:.1f}",
        ]
        for entry in entries
    ]
    return record.table(header, rows)


def _law_table(laws: dict[str, dict]) -> str:
    rows = []
    for optimizer, entry in laws.items():
        for cold in entry["cold"]:
            low, high = cold["interval"]
            exponent = f"{cold['exponent']:.3f} ± {cold['stderr']:.3f} ({low:.3f} to {high:.3f})"
            spread = f"{cold['growth']:.3f} ± {cold['growth_stderr']:.3f}"
            reach = f"{cold['spread'][0]:.0f} to {cold['spread'][1]:.0f}"
            found = f"loss {exponent}, spread {spread}"
            if optimizer == "sgd":
                found += "; gradient flow: {exponent:.3f}, {growth:.3f}".format(**cold["theory"])
            rows.append([optimizer, f"{cold['temperature']:g}", reach, found])
        for hot in entry["hot"]:
            if "r2_exponential" in hot:
                fits = f"R² of ln(loss): exponential {hot['r2_exponential']:.5f}, power law {hot['r2_power_law']:.3f}"
                rows.append([optimizer, f"{hot['temperature']:g}", "", fits])
        for found in entry["collapse"]:
            parts = (f"{name} {found[name]['spread']:.4f}" for name in ("dynamic_time", "step"))
            rows.append([optimizer, f"{COLD[-1]:g}", "", "rates apart (nat): " + ", ".join(parts)])
    return record.table(["optimizer", "temperature", "logit spread", "found"], rows)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = record.arguments("simulation", __doc__, quick="few steps")
    parser.add_argument("--temperatures", type=int, default=8, help="from 0.01 to 1, for the speed")
    parser.add_argument("--speed-steps", type=int, default=300, help="steps of each run that is timed")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--law-steps", type=int, default=40_000, help="steps of the runs that laws are fitted to; 0 for none"
    )
    parser.add_argument("--sgd-rate", type=float, default=10.0, help="highest learning rate of SGD")
    parser.add_argument("--adam-rate", type=float, default=0.03, help="highest learning rate of Adam")
    parser.add_argument("--batch", type=int, default=256, help="of the runs that are timed")
    parser.add_argument("--law-batch", type=int, default=512, help="of the runs that laws are fitted to")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args(argv)
    if options.quick:
        options.speed_steps, options.law_steps, options.repeats = 50, 10_000, 1
    return options
