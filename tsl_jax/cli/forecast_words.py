"""A forecast as JSON can hold it, and in words."""

from typing import TYPE_CHECKING, Any

from .streams import output_console, say, warn

if TYPE_CHECKING:
    import numpy as np

    from ..jobs.runs import Run
    from ..temporal.forecasts.mean_loss import Forecast
    from ..temporal.positions.forecast import PositionForecast


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


def print_forecast(said: dict[str, Any]) -> None:
    """The description in words on stderr."""
    console = output_console()
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
        warn(f"Outside the data: {warning}")
