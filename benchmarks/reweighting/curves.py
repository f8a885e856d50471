"""Validation curves of re-weighted and uniform runs: how much sooner the one is where the other ends, and a picture."""

import numpy as np

UNIFORM = "uniform"


def compared(curves: dict, arm: str) -> dict:
    """An arm against the uniform one, seed by seed, with means and 95% t-intervals.

    Args:
        curves: ``step`` (rows,); ``loss`` by arm, (seeds, rows), nat; ``last_loss_of_thirds`` by arm, (seeds, thirds).
        arm: its name.
    """
    steps = np.array(curves["step"], float)
    plain, other = (np.array(curves["loss"][name], float) for name in (UNIFORM, arm))
    smooth = [np.array([smoothed(steps, curve) for curve in part]) for part in (plain, other)]
    pairs, raw = list(zip(*smooth, strict=True)), zip(plain, other, strict=True)
    thirds = np.subtract(*(curves["last_loss_of_thirds"][name] for name in (UNIFORM, arm)))
    return {
        "speed_up_percent": summary([speed_up_percent(steps, *pair) for pair in pairs]),
        "speed_up_percent_without_smoothing": summary([speed_up_percent(steps, *pair) for pair in raw]),
        "last_loss_lower_by": summary([a[-1] - b[-1] for a, b in pairs]),
        "last_loss_of_thirds_lower_by": [summary(third.tolist()) for third in thirds.T],
        "noise_of_curves": float(np.std(np.concatenate([plain - smooth[0], other - smooth[1]]))),
    }


def smoothed(steps: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """A validation curve's cubic in ln(step), which all curves get alike."""
    return np.polynomial.Polynomial.fit(np.log(steps), loss, 3)(np.log(steps))


def speed_up_percent(steps: np.ndarray, plain: np.ndarray, other: np.ndarray) -> float:
    """Share of the steps from the first on that ``other`` saves on the way to the last loss of ``plain``.

    If it ends above that, both are timed to its own last loss, and what it saves is negative.
    """
    target = max(plain[-1], other[-1])
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


def draw(result: dict, path: str) -> str:
    """Draw the mean curves, and what each arm and seed gains over the uniform arm; return the path."""
    from tsl_jax.plots import style

    figure = style.new_figure(12.4, 3.7)
    grid = figure.add_gridspec(
        1, 4, width_ratios=(1.35, 1.35, 1, 1), left=0.05, right=0.99, top=0.88, bottom=0.15, wspace=0.36
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
    palette = (style.BLUE, style.ORANGE, style.SKY, style.VERMILION, style.GREEN, style.PURPLE)
    colours = {name: palette[at % len(palette)] for at, name in enumerate(arms)} | {UNIFORM: style.GREY}
    _draw_curves(axes[:2], result["curves"], colours)
    for at, name in enumerate(arms):
        found, colour = result["arms"][name], colours[name]
        thirds = found["last_loss_of_thirds_lower_by"]
        _draw_points(axes[2], np.arange(len(thirds)) + 0.16 * (at - (len(arms) - 1) / 2), thirds, colour)
        _draw_points(axes[3], [at], [found["speed_up_percent"]], colour)
    axes[2].set_xticks(range(3), ["lowest\nthird", "middle", "highest\nthird"])
    axes[3].set_xticks(range(len(arms)), [name.removeprefix("strength ").replace("-", "−") for name in arms])
    axes[3].set_xlim(-0.6, len(arms) - 0.4)
    axes[3].set_xlabel("strength", size=9.5)
    style.save(figure, path)
    return path


def _draw_curves(axes, curves: dict, colours: dict) -> None:
    plain = np.array(curves["loss"][UNIFORM])
    for name, losses in curves["loss"].items():
        axes[0].plot(curves["step"], np.mean(losses, axis=0), color=colours[name], lw=1.6, label=name.replace("-", "−"))
        if name != UNIFORM:
            lower = plain - np.array(losses)
            axes[1].plot(curves["step"], lower.T, color=colours[name], lw=0.6, alpha=0.4)
            axes[1].plot(curves["step"], lower.mean(0), color=colours[name], lw=2)
    axes[0].legend(frameon=False, fontsize=9)
    for each in axes:
        each.set_xlabel("training step", size=9.5)


def _draw_points(axes, places, found: list[dict], colour: str) -> None:
    """Means with their intervals, and the seeds beside them."""
    for x, each in zip(places, found, strict=True):
        axes.plot([x, x], each["interval"], color=colour, lw=2)
        axes.plot(x, each["mean"], "o", color=colour, ms=5)
        axes.plot(np.full(len(each["seeds"]), x + 0.06), each["seeds"], "o", color=colour, ms=2.5, alpha=0.6, mew=0)
