"""Whether 90% intervals hold the truth in 90%, and the test for an event its level, under noise of every kind.

    python -m benchmarks coverage [--curves N] [--checkpoints N ...] [--scale log linear] [--out FILE] [--quick]

Also how often a second event is seen where there is none, and where there is one. Planted tokens (`benchmarks
planted_noise`); with a noise model estimated on them, and from each curve's own residuals alone. Prints a table.
"""

from .. import record


def main(argv: list[str] | None = None) -> dict:
    """Run the table, print it as Markdown, write its JSON."""
    parser = record.arguments("coverage", __doc__, quick="256 curves of 32 checkpoints")
    parser.add_argument("--curves", type=int, default=4096, help="planted tokens a row, and curves of noise alone")
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--scale", nargs="+", choices=("log", "linear"), default=["log"])
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    options = parser.parse_args(argv)
    if options.quick:
        options.curves, options.checkpoints = 256, [32]
    from .planted_noise import KINDS, Setting, judge

    rows = []
    for scale in options.scale:
        for checkpoints in options.checkpoints:
            for name, kind in KINDS.items():
                found = {
                    how: judge(Setting(checkpoints, scale), kind, options.curves, options.seed, shared)
                    for how, shared in (("model", True), ("alone", False))
                }
                rows.append({"noise": name, "checkpoints": checkpoints, "scale": scale, **found})
                print(_line(rows[-1]), flush=True)
    result = {"benchmark": "coverage", "environment": record.environment(), "curves": options.curves, "rows": rows}
    print(f"\n{table(result)}")
    return record.finish(result, options.out)


def _line(row: dict) -> str:
    return " ".join([f"{row['noise']:16} {row['checkpoints']:4} {row['scale']:6}", *_cells(row)])


def _cells(row: dict) -> list[str]:
    def percents(found):
        return " ".join(f"{100 * share:.0f}" for share in found["coverage"].values())

    model, alone = row["model"], row["alone"]
    false = f"{100 * model['false_events']:.1f} / {100 * alone['false_events']:.1f}"
    second = f"{100 * model['false_second_events']:.1f} / {100 * alone['false_second_events']:.1f}"
    found = [f"{100 * model[name]:.0f} / {100 * alone[name]:.0f}" for name in ("found", "second_found")]
    return [percents(model), percents(alone), false, found[0], second, found[1]]


def table(result: dict) -> str:
    """Markdown: a row for each kind of noise and number of checkpoints."""
    heads = [
        "noise",
        "checkpoints",
        "90% intervals hold, %: with a noise model",
        "each curve alone",
        "noise called an event, %",
        "events found, %",
        "one event called two, %",
        "second events found, %",
    ]
    rows = [[row["noise"], f"{row['checkpoints']}{_scaled(row)}", *_cells(row)] for row in result["rows"]]
    return record.table(heads, rows)


def _scaled(row: dict) -> str:
    return "" if row["scale"] == "log" else ", linear"
