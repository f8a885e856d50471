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

    curves, arms = result["curves"], result["arms"]
    steps = np.array(curves["step"], float)
    colours = dict(zip(curves["loss"], (style.GREY, style.SKY, style.BLUE, style.ORANGE), strict=False))
    figure = style.new_figure(9.6, 3.9)
    grid = figure.add_gridspec(
        1, 3, width_ratios=(1.5, 1.5, 1), left=0.065, right=0.985, top=0.88, bottom=0.14, wspace=0.33
    )
    axes = [figure.add_subplot(place) for place in grid]
    plain = np.array(curves["loss"][UNIFORM])
    for name, losses in curves["loss"].items():
        losses, colour = np.array(losses), colours[name]
        axes[0].plot(steps, losses.mean(0), color=colour, lw=1.5, label=name)
        if name != UNIFORM:
            apart = losses - plain
            axes[1].plot(steps, apart.T, color=colour, lw=0.6, alpha=0.45)
            axes[1].plot(steps, apart.mean(0), color=colour, lw=2)
    axes[1].axhline(0, color=style.GREY, lw=1)
    for at, (name, found) in enumerate(arms.items()):
        gain = found["speed_up_percent"]
        axes[2].plot([at, at], gain["interval"], color=colours[name], lw=2)
        axes[2].plot(at, gain["mean"], "o", color=colours[name], ms=7)
        axes[2].plot(
            np.full(len(gain["seeds"]), at + 0.2), gain["seeds"], "o", color=colours[name], ms=3, alpha=0.6, mew=0
        )
    axes[2].axhline(0, color=style.GREY, lw=1)
    axes[2].set_xlim(-0.6, len(arms) - 0.4)
    axes[2].set_xticks(range(len(arms)), [name.replace(" ", "\n") for name in arms])
    titles = ("Validation loss", "Less that of the uniform arm", "Steps saved (%)")
    for each, title in zip(axes, titles, strict=True):
        style.plain_axes(each, 9)
        each.set_title(title, size=10.5, loc="left", color=style.INK, pad=7)
    for each in axes[:2]:
        each.set_xlabel("training step", size=9.5)
        each.set_ylabel("nat per byte", size=9.5)
    axes[0].legend(frameon=False, fontsize=9)
    style.save(figure, path)
    return path
