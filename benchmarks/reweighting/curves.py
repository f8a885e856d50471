"""Validation curves of re-weighted and uniform runs: how much sooner the one is where the other ends, and a picture."""

import numpy as np

from .. import record
from .scores import BUCKETS, ENDS, UNIFORM

#: Shares of the uniform arm's fall at which steps are compared.
LEVELS = (0.25, 0.5, 0.75, 1.0)
#: What lies below these is not drawn, panel by panel: the reversed arm would leave no room for the others.
LEAST_DRAWN = (-np.inf, -0.04, -0.1, -35)
#: Arms that the others are compared with beside the uniform one.
RIVALS = ("one-shot 1", "predicted", "excess loss")
#: Buckets of validation text by the score of the one-shot weights, as they are told apart.
GROUPS = {"lowest two": slice(0, ENDS), "middle six": slice(ENDS, -ENDS), "highest two": slice(-ENDS, None)}


def described(experiment) -> dict:
    """All arms against the uniform one, and the curves: entries of the result."""
    from .arms import gathered

    found = gathered(experiment)
    curves = curves_of(found["step"], {name: np.array(values) for name, values in found["buckets"].items()})
    arms = {name: compared(curves, name) for name in curves["loss"] if name != UNIFORM}
    return {
        "seeds": found["seeds"],
        "arms": arms,
        "saves_more_than": {other: more_than(arms, other) for other in RIVALS if other in arms},
        "plans": found["plans"],
        "curves": curves,
    }


def curves_of(steps: list, buckets: dict[str, np.ndarray]) -> dict:
    """Mean losses, and those of groups of buckets; ``buckets`` by arm, (seeds, rows, buckets).

    Returns:
        ``step`` (rows,); ``loss`` by arm, (seeds, rows), nat; ``groups`` by arm and group, (seeds, rows).
    """
    assert all(values.shape[-1] == BUCKETS for values in buckets.values())
    groups = {
        arm: {name: values[..., part].mean(-1).round(5).tolist() for name, part in GROUPS.items()}
        for arm, values in buckets.items()
    }
    loss = {arm: values.mean(-1).round(5).tolist() for arm, values in buckets.items()}
    return {"step": list(steps), "loss": loss, "groups": groups}


def compared(curves: dict, arm: str) -> dict:
    """An arm against the uniform one, seed by seed, with means and 95% t-intervals.

    Args:
        curves: of `curves_of`.
        arm: its name.
    """
    steps = np.array(curves["step"], float)
    plain, other = (np.array(curves["loss"][name], float) for name in (UNIFORM, arm))
    smooth = [np.array([smoothed(steps, curve) for curve in part]) for part in (plain, other)]
    pairs, raw = list(zip(*smooth, strict=True)), zip(plain, other, strict=True)
    return {
        "speed_up_percent": summary([speed_up_percent(steps, *pair) for pair in pairs]),
        "speed_up_percent_without_smoothing": summary([speed_up_percent(steps, *pair) for pair in raw]),
        "speed_up_percent_at": {
            f"{level:.0%}": summary([speed_up_percent(steps, *pair, level=level) for pair in pairs]) for level in LEVELS
        },
        "last_loss_lower_by": summary([a[-1] - b[-1] for a, b in pairs]),
        "lower_by": [summary(row.tolist()) for row in (plain - other).T],
        "groups": {name: _group(steps, curves, arm, name) for name in curves["groups"][arm]},
        "noise_of_curves": float(np.std(np.concatenate([plain - smooth[0], other - smooth[1]]))),
    }


def more_than(arms: dict, other: str) -> dict:
    """By arm, seed by seed: points of the steps saved at the end beyond those of another one."""
    saved = {name: np.array(found["speed_up_percent"]["seeds"]) for name, found in arms.items()}
    return {name: summary((each - saved[other]).tolist()) for name, each in saved.items() if name != other}


def _group(steps: np.ndarray, curves: dict, arm: str, group: str) -> dict:
    """What an arm does to the validation text of some buckets."""
    both = [[smoothed(steps, curve) for curve in np.array(curves["groups"][a][group])] for a in (UNIFORM, arm)]
    pairs = list(zip(*both, strict=True))
    return {
        "speed_up_percent": summary([speed_up_percent(steps, *pair) for pair in pairs]),
        "last_loss_lower_by": summary([float(a[-1] - b[-1]) for a, b in pairs]),
    }


def smoothed(steps: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """A validation curve's cubic in ln(step), which all curves get alike."""
    return np.polynomial.Polynomial.fit(np.log(steps), loss, 3)(np.log(steps))


def speed_up_percent(steps: np.ndarray, plain: np.ndarray, other: np.ndarray, level: float = 1.0) -> float:
    """Share of the steps from the first on that ``other`` saves on the way to a loss of ``plain``.

    If it ends above that, both are timed to its own last loss, and what it saves is negative.

    Args:
        steps: (rows,) of the curves.
        plain: (rows,) losses of the uniform arm.
        other: (rows,) losses of another.
        level: how much of the fall of ``plain`` is timed.
    """
    # Written so that a level of 1 is the last loss to the last bit.
    target = max((1 - level) * plain[0] + level * plain[-1], other[-1])
    needed, spent = (_reached(steps, loss, target) - steps[0] for loss in (plain, other))
    return float(100 * (1 - spent / needed))


def _reached(steps: np.ndarray, loss: np.ndarray, target: float) -> float:
    """First step at which a curve is down at the target, on straight lines between its points."""
    at = int(np.argmax(loss <= target))
    if at == 0:
        return float(steps[0])
    share = (loss[at - 1] - target) / (loss[at - 1] - loss[at])
    return float(steps[at - 1] + share * (steps[at] - steps[at - 1]))


def summary(values: list) -> dict:
    """Values, their mean and its 95% t-interval."""
    from scipy.stats import t

    number = len(values)
    wide = t.ppf(0.975, number - 1) * np.std(values, ddof=1) / np.sqrt(number) if number > 1 else np.nan
    mean = float(np.mean(values))
    return {"seeds": [float(v) for v in values], "mean": mean, "interval": [mean - float(wide), mean + float(wide)]}


def table(result: dict) -> str:
    """Steps saved at all levels, and what happens to text of low, middle and high scores."""
    rows = []
    for name, found in result["arms"].items():
        saved = (_with_interval(found["speed_up_percent_at"][level], 1) for level in found["speed_up_percent_at"])
        groups = (_with_interval(found["groups"][group]["last_loss_lower_by"], 3) for group in GROUPS)
        rows.append([name, *saved, *groups])
    levels = [f"steps saved (%) at {level:.0%} of the fall" for level in LEVELS]
    return record.table(["arm", *levels, *(f"lower by (nat): {name} buckets" for name in GROUPS)], rows)


def _with_interval(found: dict, digits: int) -> str:
    low, high = found["interval"]
    return f"{found['mean']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def draw(result: dict, path: str) -> str:
    """Draw the mean curves, and what each arm and seed gains over the uniform arm; return the path."""
    from tsl_jax.plots import style

    figure = style.new_figure(12.4, 3.9)
    grid = figure.add_gridspec(
        1, 4, width_ratios=(1.2, 1.2, 1.2, 1.2), left=0.05, right=0.99, top=0.88, bottom=0.25, wspace=0.3
    )
    axes = [figure.add_subplot(place) for place in grid]
    titles = ("Validation loss", "Lower than uniform by", "The same at the end, by score", "Steps saved, 95% interval")
    for each, title, label in zip(axes, titles, ("nat per byte",) * 3 + ("%",), strict=True):
        style.plain_axes(each, 9)
        each.set_title(title, size=10.5, loc="left", color=style.INK, pad=7)
        each.set_ylabel(label, size=9.5)
    for each in axes[1:]:
        each.axhline(0, color=style.GREY, lw=1)
    arms = list(result["arms"])
    palette = ("SKY", "BLUE", "PALE", "ORANGE", "VERMILION", "PURPLE", "GREEN", "INK")
    colours = {name: getattr(style, palette[at % len(palette)]) for at, name in enumerate(arms)} | {UNIFORM: style.GREY}
    _draw_curves(axes[:2], result["curves"], colours)
    for at, name in enumerate(arms):
        found, aside = result["arms"][name], 0.84 / len(arms) * (at - (len(arms) - 1) / 2)
        groups = [group["last_loss_lower_by"] for group in found["groups"].values()]
        levels = list(found["speed_up_percent_at"].values())
        _draw_points(axes[2], np.arange(len(groups)) + aside, groups, colours[name])
        _draw_points(axes[3], np.arange(len(levels)) + aside, levels, colours[name])
    axes[2].set_xticks(range(len(GROUPS)), [name.replace(" ", "\n") for name in GROUPS])
    axes[3].set_xticks(range(len(LEVELS)), [f"{level:.0%}" for level in LEVELS])
    for each, least in zip(axes, LEAST_DRAWN, strict=True):
        each.set_ylim(bottom=max(each.get_ylim()[0], least))
    axes[3].set_xlabel("share of the uniform arm's fall", size=9.5)
    style.save(figure, path)
    return path


def _draw_curves(axes, curves: dict, colours: dict) -> None:
    plain = np.array(curves["loss"][UNIFORM])
    for name, losses in curves["loss"].items():
        axes[0].plot(curves["step"], np.mean(losses, axis=0), color=colours[name], lw=1.6, label=name)
        if name != UNIFORM:
            lower = plain - np.array(losses)
            axes[1].plot(curves["step"], lower.T, color=colours[name], lw=0.6, alpha=0.4)
            axes[1].plot(curves["step"], lower.mean(0), color=colours[name], lw=2)
    axes[0].figure.legend(loc="lower center", ncol=len(colours), frameon=False, fontsize=9)
    for each in axes:
        each.set_xlabel("training step", size=9.5)


def _draw_points(axes, places, found: list[dict], colour: str) -> None:
    """Means with their intervals, and the seeds beside them."""
    for x, each in zip(places, found, strict=True):
        axes.plot([x, x], each["interval"], color=colour, lw=2)
        axes.plot(x, each["mean"], "o", color=colour, ms=5)
        axes.plot(np.full(len(each["seeds"]), x + 0.03), each["seeds"], "o", color=colour, ms=2.5, alpha=0.6, mew=0)
