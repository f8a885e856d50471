"""`tsl scaling`: a law of the final loss over model and data size, and what to train for a budget."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Debug, Json, reporting, write_json
from .options import argument, picture_of, unless_given
from .output_files import check_picture, write_picture
from .runs import LossColumn, by_option
from .streams import output_console, say, warn

if TYPE_CHECKING:
    from ..temporal.laws.size_fit import SizeLawFit

#: How the literature calls the parameters.
_SYMBOLS = {
    "floor": "E",
    "size_coefficient": "A",
    "size_exponent": "α",
    "data_coefficient": "B",
    "data_exponent": "β",
    "repeat_scale": "R*",
}
#: Budgets beyond the largest run, or below the smallest, by more than this factor are said to be far.
_FAR = 10.0

_Table = Annotated[
    str,
    argument("TABLE", "A row a run: parameters N, tokens D or operations C, and the final loss (CSV, Parquet, ...)."),
]
_SizeColumn = Annotated[str | None, unless_given("known names", "Column with the parameters N.", metavar="NAME")]
_TokensColumn = Annotated[str | None, unless_given("known names", "Column with the tokens D.", metavar="NAME")]
_FlopsColumn = Annotated[
    str | None, unless_given("known names", "Column with the operations C = 6ND, instead of tokens.", metavar="NAME")
]
_UniqueColumn = Annotated[
    str | None,
    unless_given("known names", "Column with the unique tokens, for --law data_constrained.", metavar="NAME"),
]
_Law = Annotated[
    str,
    typer.Option(
        help="chinchilla: E + A/N^α + B/D^β; kaplan: ((Nc/N)^(αN/αD) + Dc/D)^αD; or data_constrained: chinchilla of "
        "effective data, U·(1 + R*·(1 - exp(-(D/U - 1)/R*))) for U unique tokens."
    ),
]
_Budget = Annotated[
    list[float] | None,
    unless_given(
        "none",
        "Find the best N and D for so many operations, such as 1e21; may be given several times.",
        metavar="FLOPS",
    ),
]


def scaling(
    table: _Table,
    law: _Law = "chinchilla",
    budget: _Budget = None,
    size_column: _SizeColumn = None,
    tokens_column: _TokensColumn = None,
    flops_column: _FlopsColumn = None,
    unique_column: _UniqueColumn = None,
    loss_column: LossColumn = None,
    huber: Annotated[float, typer.Option(help="Residuals of ln loss beyond this count in proportion only.")] = 1e-3,
    replicates: Annotated[int, typer.Option(min=0, help="Replicates of the bootstrap over runs.")] = 1000,
    level: Annotated[float, typer.Option(help="Of the intervals, between 0 and 1.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    picture: Annotated[Path | None, picture_of("losses, law and best sizes")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit a law of the final losses of many runs over model and data size, and say what to train for a budget.

    Huber's loss of ln L is minimised from many starts; intervals come from a bootstrap over runs.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    with reporting(as_json, debug), by_option(huber="--huber", flops="--budget", unique_tokens="--unique-column"):
        import jax

        from ..store.curve_files.size_table import read_sizes
        from ..temporal.laws.size_fit import fit_size_law

        check_picture(picture)
        given = {"size": size_column, "tokens": tokens_column, "flops": flops_column, "final_loss": loss_column}
        given["unique_tokens"] = unique_column
        rows = read_sizes(table, {name: column for name, column in given.items() if column is not None})
        if rows.notes:
            warn(f"{table}: {'; '.join(rows.notes)}")
        options: dict[str, Any] = {"huber": huber, "replicates": replicates, "level": level}
        from .runs import OptionError

        chosen = _law(law)
        if chosen.counts_epochs:
            options["unique_tokens"] = rows.unique_tokens
        elif unique_column is not None:
            raise OptionError(
                f"--unique-column: got {unique_column!r} with --law {law}, which counts no epochs; give --law "
                "data_constrained"
            )
        found = fit_size_law(chosen, *rows[:3], **options, key=jax.random.key(seed))
        said = _describe(table, found, rows, budget or [])
        _print(said)
        if picture is not None:
            from ..plots.scaling import draw_scaling, scaling_data

            write_picture(draw_scaling(scaling_data(*rows[:3], found, budget or [], rows.unique_tokens)), picture, said)
        if as_json:
            write_json(said)


def _law(name: str) -> Any:
    from ..temporal.laws.size_laws import SIZE_LAWS
    from .runs import OptionError

    if name not in SIZE_LAWS:
        raise OptionError(f"--law: got {name!r}, expected {' or '.join(SIZE_LAWS)}")
    return SIZE_LAWS[name]


def _describe(table: str, found: "SizeLawFit", rows: Any, budgets: list[float]) -> dict[str, Any]:
    """A fit as JSON can hold it."""
    import numpy as np

    from ..fitting import Status
    from ..temporal.laws.size_laws import FLOPS_PER_PARAMETER_TOKEN

    flops = FLOPS_PER_PARAMETER_TOKEN * rows.size * rows.tokens
    largest, smallest = float(flops.max()), float(flops.min())
    said: dict[str, Any] = {
        "table": table,
        "law": found.law.name,
        "runs": len(rows.loss),
        "level": found.level,
        "params": found.params,
        "lower": found.lower,
        "upper": found.upper,
        "objective": found.objective,
        "error": found.error,
        "status": Status(found.status).name,
        "largest_run": {"flops": largest, "size": float(rows.size.max()), "tokens": float(rows.tokens.max())},
        "budgets": [],
    }
    best = found.optimum(np.array(budgets)) if budgets else None
    for k, flops in enumerate(budgets if best is not None else []):
        assert best is not None
        said["budgets"].append(
            {
                "flops": flops,
                "size": best.size[k],
                "tokens": best.tokens[k],
                "loss": best.loss[k],
                "size_interval": best.size_interval[:, k].tolist(),
                "tokens_interval": best.tokens_interval[:, k].tolist(),
                "loss_interval": best.loss_interval[:, k].tolist(),
                "beyond_largest_run": flops / largest,
                "below_smallest_run": smallest / flops,
            }
        )
    return said


def _print(said: dict[str, Any]) -> None:
    from rich.table import Table

    console = output_console()
    percent = f"{said['level']:.0%} interval"
    say(console, f"{said['runs']} runs; root mean square of ln L around the law: {said['error']:.4f}.")
    table = Table(box=None, pad_edge=False)
    for name in ("parameter", "value", percent):
        table.add_column(name, justify="left" if name == "parameter" else "right", no_wrap=True)
    if said["status"] != "CONVERGED":
        warn(f"The search for the law ended with {said['status']}: its numbers may not be the best; check the runs.")
    for name, value in said["params"].items():
        symbol = f"{_SYMBOLS[name]} " if name in _SYMBOLS else ""
        ends = _interval(said["lower"][name], said["upper"][name])
        table.add_row(f"{symbol}({name})" if symbol else name, f"{value:.5g}", ends)
    console.print(table)
    for budget in said["budgets"]:
        say(
            console,
            f"{budget['flops']:.3g} operations: N = {budget['size']:.3g} ({_interval(*budget['size_interval'])}), "
            f"D = {budget['tokens']:.3g} ({_interval(*budget['tokens_interval'])}), "
            f"{budget['tokens'] / budget['size']:.1f} tokens a parameter, loss {budget['loss']:.3f} nat "
            f"({_interval(*budget['loss_interval'])})",
            "bold",
        )
        far = None
        if budget["beyond_largest_run"] > _FAR:
            far = f"{budget['beyond_largest_run']:.3g} times the largest run"
        elif budget["below_smallest_run"] > _FAR:
            far = f"1/{budget['below_smallest_run']:.3g} of the smallest run"
        if far is not None:
            warn(f"Outside the data: this budget is {far}; trust the intervals, not the numbers.")


def _interval(lower: float, upper: float) -> str:
    return "not known" if lower != lower else f"{lower:.3g} to {upper:.3g}"
