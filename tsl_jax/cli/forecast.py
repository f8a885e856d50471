"""`tsl forecast`: the rest of a training run from its beginning."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Debug, Json, reporting, say, stderr_console, write_json
from .runs import Run, ScheduleOption, Warmup, rates_until, read_run

if TYPE_CHECKING:
    import numpy as np

    from ..temporal.forecast import Forecast, ForecastPrior

#: Steps of a forecast without hidden rows.
_POINTS = 60


def forecast(
    losses: Annotated[
        str,
        typer.Argument(
            metavar="LOSSES",
            help="The run: a CSV file with columns step, loss and perhaps lr, or a loss store.",
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
    like: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A finished run of the same family, CSV with lr or a store, to learn from what annealing brings; "
            "may be given several times.",
            show_default="published values",
        ),
    ] = None,
    positions: Annotated[
        bool, typer.Option("--positions", help="Forecast the loss at every position too (loss stores).")
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

        from ..temporal.rank import seen_part

        run = read_run(losses)
        seen = run if fraction is None else run.until(run.step[seen_part(run.step, fraction)][-1])
        hidden = np.setdiff1d(np.arange(len(run.step)), np.arange(len(seen.step)))
        hidden = hidden[run.step[hidden] <= until]
        at = np.union1d(np.geomspace(seen.step[-1] + 1, max(until, seen.step[-1] + 1), _POINTS).round(), [until])
        at = np.union1d(at[at > seen.step[-1]], run.step[hidden])
        rates = rates_until(seen, until, schedule, warmup)
        prior = _prior(like or [], warmup)
        found, by_position = _forecast(seen, at, rates, prior, positions)
        said = describe(run.name, seen, found, fraction) | {"schedule": schedule if rates is not None else "unknown"}
        if hidden.size:
            said["hidden"] = judge(found, run.step[hidden], run.loss[hidden])
        if by_position is not None:
            said["positions"] = by_position
        _print(said)
        if picture is not None:
            from ..plots.forecast import draw_forecast, forecast_data
            from ..plots.style import save

            data = forecast_data(seen.step, seen.loss, found, (run.step[hidden], run.loss[hidden]), rates)
            save(draw_forecast(data), picture)
            say(stderr_console(), f"Written: {picture}", "green")
            said["picture"] = str(picture)
        if as_json:
            write_json(said)


def _prior(like: list[str], warmup: int | None) -> "ForecastPrior":
    from ..temporal.forecast import ForecastPrior
    from ..temporal.forecast_prior import prior_from_runs

    if not like:
        return ForecastPrior()
    runs = []
    for path in like:
        run = read_run(path)
        rates = rates_until(run, run.step[-1], "recorded", warmup)
        runs.append({"step": run.step, "loss": run.loss, "learning_rate": rates})
    return prior_from_runs(runs)


def _forecast(seen: Run, at: "np.ndarray", rates: Any, prior: "ForecastPrior", positions: bool):
    from ..store import StoreError
    from ..temporal.forecast import forecast as forecast_mean
    from ..temporal.position_forecast import forecast_positions

    if not positions:
        return forecast_mean(seen.step, seen.loss, at, learning_rate=rates, prior=prior), None
    table = seen.positions
    if table is None:
        raise StoreError(
            f"position: {seen.name} has no token coordinate of this name, which says where in its context a token is; "
            "leave out --positions, or write it with create_losses(..., tokens={'position': ...})"
        )
    found = forecast_positions(
        table.axis, table.position, table.mean, table.stderr, at, learning_rate=rates, prior=prior
    )
    last = {"position": found.position.tolist(), "loss": found.loss[-1].tolist()}
    last |= {f"{side}90": getattr(found, side)[1, -1].tolist() for side in ("lower", "upper")}
    return found.total, last | {"step": float(found.total.step[-1]), "two_stage_mean": float(found.two_stage[-1])}


def describe(name: str, seen: Run, found: "Forecast", fraction: float | None) -> dict[str, Any]:
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
    for warning in said["warnings"]:
        say(console, f"Outside the data: {warning}", "yellow")
