"""`tsl forecast`: the rest of a training run from its beginning."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from .console import Debug, Json, reporting, write_json
from .forecast_words import describe, describe_positions, judge, print_forecast
from .groups import grouped
from .like import Relatives, prior_of
from .options import argument, needed, picture_of, switch, unless_given
from .output_files import check_picture
from .runs import (
    RUN_HELP,
    Columns,
    OptionError,
    Rates,
    by_option,
    first_part,
    read_run,
)
from .streams import output_console, say

if TYPE_CHECKING:
    import numpy as np

    from ..jobs.runs import Run
    from ..temporal.forecasts.mean_loss import Forecast, ForecastPrior
    from ..temporal.positions.forecast import PositionForecast

#: Steps of a forecast without hidden rows.
_POINTS = 60


_Fraction = Annotated[
    float | None,
    unless_given(
        "all that is recorded",
        "See only this first part of the recorded steps, between 0 and 1, and compare the rest with the forecast.",
    ),
]
_Positions = Annotated[
    bool,
    switch("--positions", "Forecast the loss at every position too (loss stores), and draw it beside --picture."),
]


@grouped
def forecast(
    losses: Annotated[str, argument("LOSSES", f"The run: {RUN_HELP}")],
    until: Annotated[float, needed("STEP", "Last step of the forecast.")],
    fraction: _Fraction = None,
    *,
    rates: Rates,
    columns: Columns,
    relatives: Relatives,
    positions: _Positions = False,
    picture: Annotated[Path | None, picture_of("the forecast")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Forecast the mean loss of LOSSES up to a step, with 50 and 90% bands.

    Laws that know the learning rate and one that does not are averaged by how well they predict the later part of what
    is seen from the earlier part. Nothing after the seen part enters but the schedule.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    with reporting(as_json, debug), by_option(at="--until"):
        from ..jobs.runs import rates_until

        check_picture(picture)
        names = columns.names
        run = read_run(losses, names)
        seen = first_part(run, fraction)
        _check_until(seen, until, fraction)
        at, hidden = _steps(run, seen, until)
        lr = rates_until(seen, until, rates.schedule, rates.warmup)
        prior = prior_of(relatives, rates.warmup, names, run.size)
        by_position = _by_position(seen, at, lr, prior) if positions else None
        found = by_position.total if by_position else _of_mean(seen, at, lr, prior)
        said = describe(run.name, seen, found, fraction) | {"schedule": rates.schedule if lr is not None else "unknown"}
        if hidden.size:
            said["hidden"] = judge(found, run.step[hidden], run.loss[hidden])
        if by_position is not None:
            said["warnings"] = list(by_position.warnings)
            said["positions"] = describe_positions(by_position, run, hidden)
        print_forecast(said)
        if picture is not None:
            hidden_losses = run.step[hidden], run.loss[hidden]
            said["pictures"] = [_draw(picture, seen, found, hidden_losses, lr)]
            if by_position is not None:
                said["pictures"].append(_draw_positions(picture, run, seen, by_position))
            say(output_console(), "Written: " + ", ".join(said["pictures"]), "green")
        if as_json:
            write_json(said)


def _check_until(seen: "Run", until: float, fraction: float | None) -> None:
    last = seen.step[-1]
    if not last < until < float("inf"):
        see = "see less of the run with --fraction" if fraction is None else f"a --fraction below {fraction:g}"
        raise OptionError(
            f"--until: got {until:g}, expected a step after the last seen one, {last:g}; give a later step, or {see}"
        )


def _steps(run: "Run", seen: "Run", until: float) -> "tuple[np.ndarray, np.ndarray]":
    """Steps of the forecast, those of hidden rows among them, and which rows are hidden."""
    import numpy as np

    hidden = np.setdiff1d(np.arange(len(run.step)), np.arange(len(seen.step)))
    hidden = hidden[run.step[hidden] <= until]
    between = np.geomspace(min(seen.step[-1] + 1, until), until, _POINTS).round()
    at = np.union1d(between[(between > seen.step[-1]) & (between < until)], [until])
    return np.union1d(at, run.step[hidden]), hidden


def _of_mean(seen: "Run", at: "np.ndarray", rates: Any, prior: "ForecastPrior") -> "Forecast":
    from ..temporal.forecasts.mean_loss import forecast as forecast_mean

    return forecast_mean(seen.step, seen.loss, at, learning_rate=rates, prior=prior)


def _by_position(seen: "Run", at: "np.ndarray", rates: Any, prior: "ForecastPrior") -> "PositionForecast":
    from ..store import StoreError
    from ..temporal.positions.forecast import forecast_positions

    table = seen.positions
    if table is None:
        if seen.notes:
            raise StoreError(f"--positions: {'; '.join(seen.notes)}")
        raise StoreError(
            f"position: {seen.name} has no token coordinate of this name, which says where in its context a token is; "
            "leave out --positions, or write it with create_losses(..., tokens={'position': ...})"
        )
    return forecast_positions(
        table.axis, table.position, table.mean, table.stderr, at, learning_rate=rates, prior=prior
    )


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
