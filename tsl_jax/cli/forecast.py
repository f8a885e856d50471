"""`tsl forecast`: the rest of a training run from its beginning."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Debug, Json, reporting, say, stderr_console, write_json
from .output_files import check_picture
from .runs import (
    RUN_HELP,
    LossColumn,
    RateColumn,
    RunOption,
    ScheduleOption,
    StepColumn,
    Warmup,
    named_columns,
    read_run,
)

if TYPE_CHECKING:
    import numpy as np

    from ..jobs.runs import Run
    from ..temporal.forecasts.mean_loss import Forecast, ForecastPrior
    from ..temporal.positions.forecast import PositionForecast

#: Steps of a forecast without hidden rows.
_POINTS = 60


def forecast(
    losses: Annotated[
        str,
        typer.Argument(
            metavar="LOSSES",
            help=f"The run: {RUN_HELP}",
            show_default=False,
        ),
    ],
    until: Annotated[float, typer.Option(metavar="STEP", help="Last step of the forecast.", show_default=False)],
    fraction: Annotated[
        float | None,
        typer.Option(
            help="See only this first part of the recorded steps, between 0 and 1, and compare the rest with the "
            "forecast.",
            show_default="all that is recorded",
        ),
    ] = None,
    schedule: ScheduleOption = "recorded",
    warmup: Warmup = None,
    step_column: StepColumn = None,
    loss_column: LossColumn = None,
    lr_column: RateColumn = None,
    run_name: RunOption = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A finished run of the same family, a file with lr or a store, to learn from what annealing brings; "
            "may be given several times.",
            show_default="published values",
        ),
    ] = None,
    positions: Annotated[
        bool,
        typer.Option(
            "--positions", help="Forecast the loss at every position too (loss stores), and draw it beside --picture."
        ),
    ] = False,
    picture: Annotated[Path | None, typer.Option(help="Draw the forecast into this file.", show_default="none")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Forecast the mean loss of LOSSES up to a step, with 50 and 90% bands.

    Laws that know the learning rate and one that does not are averaged by how well they predict the later part of what
    is seen from the earlier part. Nothing after the seen part enters but the schedule.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    with reporting(as_json, debug):
        import numpy as np

        from ..jobs.runs import rates_until
        from ..temporal.forecasts.rank import seen_part

        check_picture(picture)
        names = named_columns(step_column, loss_column, lr_column, run_name)
        run = read_run(losses, names)
        seen = run if fraction is None else run.until(run.step[seen_part(run.step, fraction)][-1])
        hidden = np.setdiff1d(np.arange(len(run.step)), np.arange(len(seen.step)))
        hidden = hidden[run.step[hidden] <= until]
        at = np.union1d(np.geomspace(seen.step[-1] + 1, max(until, seen.step[-1] + 1), _POINTS).round(), [until])
        at = np.union1d(at[at > seen.step[-1]], run.step[hidden])
        rates = rates_until(seen, until, schedule, warmup)
        prior = _prior(like or [], warmup, names)
        by_position = _by_position(seen, at, rates, prior) if positions else None
        found = by_position.total if by_position else _of_mean(seen, at, rates, prior)
        said = describe(run.name, seen, found, fraction) | {"schedule": schedule if rates is not None else "unknown"}
        if hidden.size:
            said["hidden"] = judge(found, run.step[hidden], run.loss[hidden])
        if by_position is not None:
            said["warnings"] = list(by_position.warnings)
            said["positions"] = describe_positions(by_position, run, hidden)
        _print(said)
        if picture is not None:
            hidden_losses = run.step[hidden], run.loss[hidden]
            said["pictures"] = [_draw(picture, seen, found, hidden_losses, rates)]
            if by_position is not None:
                said["pictures"].append(_draw_positions(picture, run, seen, by_position))
            say(stderr_console(), "Written: " + ", ".join(said["pictures"]), "green")
        if as_json:
            write_json(said)


def _prior(like: list[str], warmup: int | None, names: dict[str, str]) -> "ForecastPrior":
    from ..jobs.runs import rates_until
    from ..temporal.forecasts.mean_loss import ForecastPrior
    from ..temporal.forecasts.prior import prior_from_runs

    if not like:
        return ForecastPrior()
    runs = []
    for path in like:
        run = read_run(path, names)
        rates = rates_until(run, run.step[-1], "recorded", warmup)
        runs.append({"step": run.step, "loss": run.loss, "learning_rate": rates})
    return prior_from_runs(runs)


def _of_mean(seen: "Run", at: "np.ndarray", rates: Any, prior: "ForecastPrior") -> "Forecast":
    from ..temporal.forecasts.mean_loss import forecast as forecast_mean

    return forecast_mean(seen.step, seen.loss, at, learning_rate=rates, prior=prior)


def _by_position(seen: "Run", at: "np.ndarray", rates: Any, prior: "ForecastPrior") -> "PositionForecast":
    from ..store import StoreError
    from ..temporal.positions.forecast import forecast_positions

    table = seen.positions
    if table is None:
        raise StoreError(
            f"position: {seen.name} has no token coordinate of this name, which says where in its context a token is; "
            "leave out --positions, or write it with create_losses(..., tokens={'position': ...})"
        )
    return forecast_positions(
        table.axis, table.position, table.mean, table.stderr, at, learning_rate=rates, prior=prior
    )


def describe_positions(found: "PositionForecast", run: "Run", hidden: "np.ndarray") -> dict[str, Any]:
    """Losses over positions at the last step, and how good all hidden ones are predicted."""
    import numpy as np

    said = {"position": found.position.tolist(), "step": float(found.total.step[-1]), "loss": found.loss[-1].tolist()}
    for k, level in enumerate((50, 90)):
        said |= {f"lower{level}": found.lower[k, -1].tolist(), f"upper{level}": found.upper[k, -1].tolist()}
    if hidden.size and run.positions is not None:
        rows, truth = np.searchsorted(found.total.step, run.step[hidden]), run.positions.mean[hidden]
        inside = (truth >= found.lower[:, rows]) & (truth <= found.upper[:, rows])
        said["hidden"] = {
            "mse": np.nanmean(np.square(found.loss[rows] - truth)),
            "mse_two_stage": np.nanmean(np.square(found.two_stage[rows] - truth)),
            "coverage50": np.mean(inside[0][np.isfinite(truth)]),
            "coverage90": np.mean(inside[1][np.isfinite(truth)]),
        }
    return said


def _draw(picture: Path, seen: "Run", found: "Forecast", hidden: Any, rates: Any) -> str:
    from ..plots.forecast import draw_forecast, forecast_data
    from ..plots.style import save

    save(draw_forecast(forecast_data(seen.step, seen.loss, found, hidden, rates)), picture)
    return str(picture)


def _draw_positions(picture: Path, run: "Run", seen: "Run", found: "PositionForecast") -> str:
    """Beside the picture of the mean, under its name with ``_positions``."""
    from ..plots.position_forecast import draw_position_forecast, position_forecast_data
    from ..plots.style import save

    measured = {} if run.positions is None else dict(zip(run.step.tolist(), run.positions.mean, strict=True))
    last, end = float(seen.step[-1]), float(found.total.step[-1])
    path = picture.with_stem(f"{picture.stem}_positions")
    save(draw_position_forecast(position_forecast_data(found, last, measured[last], measured.get(end))), path)
    return str(path)


def describe(name: str, seen: "Run", found: "Forecast", fraction: float | None) -> dict[str, Any]:
    """A forecast as JSON can hold it."""
    return {
        "losses": name,
        "seen": {"rows": len(seen.step), "first_step": seen.step[0], "last_step": seen.step[-1], "fraction": fraction},
        "last_loss": seen.loss[-1],
        "end": {
            "step": found.step[-1],
            "loss": found.mean[-1],
            **{f"lower{level}": found.lower[k][-1] for k, level in enumerate((50, 90))},
            **{f"upper{level}": found.upper[k][-1] for k, level in enumerate((50, 90))},
        },
        "laws": dict(zip(found.laws, found.weight.tolist(), strict=True)),
        "rolling_error": dict(zip(found.laws, found.rolling_error.tolist(), strict=True)),
        "warnings": list(found.warnings),
        "step": found.step.tolist(),
        "loss": found.mean.tolist(),
        **{f"lower{level}": found.lower[k].tolist() for k, level in enumerate((50, 90))},
        **{f"upper{level}": found.upper[k].tolist() for k, level in enumerate((50, 90))},
    }


def judge(found: "Forecast", step: "np.ndarray", loss: "np.ndarray") -> dict[str, Any]:
    """Errors of a forecast against losses that it did not see."""
    import numpy as np

    rows = np.searchsorted(found.step, step)
    error = np.asarray(found.mean)[rows] - loss
    lower, upper = np.asarray(found.lower)[:, rows], np.asarray(found.upper)[:, rows]
    inside = np.mean((loss >= lower) & (loss <= upper), axis=1)
    return {
        "rows": len(step),
        "mse": np.mean(np.square(error)),
        "mae": np.mean(np.abs(error)),
        "coverage50": inside[0],
        "coverage90": inside[1],
    }


def _print(said: dict[str, Any]) -> None:
    console = stderr_console()
    seen, end = said["seen"], said["end"]
    say(
        console,
        f"Seen: {seen['rows']} losses, steps {seen['first_step']:,.0f} to {seen['last_step']:,.0f}, the last "
        f"{said['last_loss']:.4f} nat. Schedule: {said['schedule']}.",
    )
    say(
        console,
        f"Step {end['step']:,.0f}: {end['loss']:.4f} nat (50%: {end['lower50']:.4f} to {end['upper50']:.4f}, "
        f"90%: {end['lower90']:.4f} to {end['upper90']:.4f})",
        "bold",
    )
    weights = ", ".join(f"{law} {weight:.0%}" for law, weight in said["laws"].items())
    say(console, f"Laws: {weights}")
    if "hidden" in said:
        hidden = said["hidden"]
        say(
            console,
            f"Against {hidden['rows']} hidden losses: MSE {hidden['mse']:.2g}, mean absolute error {hidden['mae']:.4f} "
            f"nat; inside the 50% band {hidden['coverage50']:.0%}, the 90% band {hidden['coverage90']:.0%}",
        )
    if "hidden" in said.get("positions", {}):
        hidden = said["positions"]["hidden"]
        say(
            console,
            f"Single positions: MSE {hidden['mse']:.2g} (two-stage procedure alone: {hidden['mse_two_stage']:.2g}); "
            f"inside the 50% band {hidden['coverage50']:.0%}, the 90% band {hidden['coverage90']:.0%}",
        )
    for warning in said["warnings"]:
        say(console, f"Outside the data: {warning}", "yellow")
