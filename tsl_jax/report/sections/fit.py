"""What was fitted, and how well."""

import dataclasses
from typing import Any

import numpy as np

from ...fitting import Category, Status
from ...messages import in_words_of_the_command
from ...plots.style import BLUE, axis_label
from ...store import FitStore
from ..content import ReportFigure, ReportSection, ReportTable
from ..figures import add_steps, new_figure
from ..findings import Findings, Unavailable
from ..words import count, percent, significant

_NOISE = {
    "estimated": "estimated from a sample of the tokens; correlation {:.2f} between neighbouring checkpoints",
    "given": "given; correlation {:.2f} between neighbouring checkpoints",
    "alone": "each token's own residuals alone",
    "too few curves": "each token's own residuals alone; too few tokens have residuals that say more",
    "independent": "taken for independent between checkpoints",
    "combined": "that of the runs that are combined",
}
#: Share of fits that reached the step limit from which on a reader is told.
_MANY = 0.01


def fit_section(found: Findings) -> ReportSection:
    """Store, law and noise; tokens by category and by status; R² of single tokens."""
    told = found.told
    categories = {Category[name]: number for name, number in told["category_counts"].items() if number}
    statuses = {Status[name]: number for name, number in told["status_counts"].items() if number}
    tried = max(sum(statuses.values()), 1)
    rows = []
    for one, number in categories.items():
        rows.append((one.name, count(number), percent(number / tried), one.meaning))
        rising = told["learned_rising"] if one == Category.LEARNED else None
        if rising:
            rows.append(("of them rising", count(rising), percent(rising / tried), "The loss rises: forgotten."))
    return ReportSection(
        anchor="fits",
        title="What was fitted",
        facts=_facts(found),
        tables=[
            ReportTable("Tokens by category", ("category", "tokens", "share", "meaning"), rows, words=(0, 3)),
            ReportTable(
                "Fits by status",
                ("status", "tokens", "share", "cause and cure"),
                [(one.name, count(n), percent(n / tried), _cure(one)) for one, n in statuses.items()],
                words=(0, 3),
            ),
        ],
        figures=_figures(found),
        warnings=[*_damage(found), *_warnings(found.fits, told)],
    )


def _cure(status: Status) -> str:
    return in_words_of_the_command(status.cause_and_cure)


def _facts(found: Findings) -> list[tuple[str, str]]:
    fits, told = found.fits, found.told
    axis = np.delete(fits.axis(), fits.left_out_checkpoints)
    window = f"{axis_label(fits.axis_name)} {axis[0]:,g} to {axis[-1]:,g}" if len(axis) else "none"
    facts = [
        ("Fits", fits.name),
        ("Losses", found.losses.name if found.losses is not None else "not given"),
        ("Tokens", count(told["tokens"])),
        ("Checkpoints", f"{len(axis)} of {told['checkpoints']}, {window}"),
        ("Law", f"{fits.family}, {fits.scale} scale: {', '.join(fits.parameters)}"),
        ("Noise", _NOISE[told["noise_source"]].format(told["noise_correlation"] or 0)),
    ]
    if told["median_effective_points"] is not None:
        words = "independent checkpoints would say as much of a token's mean loss (median)"
        facts.append(("Effective points", f"{significant(told['median_effective_points'], 3)} {words}"))
    if told["second_events"]:
        facts.append(("Second events", f"{count(told['second_events'])} tokens likely have one; it is not fitted"))
    return [*facts, ("Package", f"tsl_jax {fits.attributes.get('package_version', 'unknown')}")]


def _figures(found: Findings) -> list[ReportFigure]:
    if isinstance(found.tokens, Unavailable):
        return []
    r2 = found.tokens.fits.r2[np.isfinite(found.tokens.fits.r2)]
    if not len(r2):
        return []
    figure = new_figure("R²", "share of the tokens")
    edges = np.linspace(0, 1, 41)
    shares = np.histogram(np.clip(r2, 0, 1), edges)[0] / len(r2)
    add_steps(figure, edges, shares, "tokens", BLUE, showlegend=False)
    figure.update_yaxes(tickformat=".0%")
    which = "all tokens" if found.tokens.whole else f"a sample of {count(len(found.tokens.token))} tokens"
    caption = f"Of {which} with a fit; those below 0 count at 0. Median {np.median(r2):.3f}."
    return [ReportFigure("How well the law follows single tokens", figure, caption)]


def _damage(found: Findings) -> list[str]:
    """What should be there and cannot be read, once each."""
    parts = (getattr(found, field.name) for field in dataclasses.fields(found))
    return list(dict.fromkeys(one.reason for one in parts if isinstance(one, Unavailable) and one.damaged))


def _warnings(fits: FitStore, told: dict[str, Any]) -> Any:
    if told["pending"]:
        yield f"{count(told['pending'])} tokens are not fitted yet: run tsl fit again to go on."
    unread = told["status_counts"].get(Status.UNREADABLE.name, 0)
    if unread:
        yield f"{count(unread)} tokens could not be read: {_cure(Status.UNREADABLE)}"
    if told["negative_losses"]:
        yield (
            "Most losses are negative, and fits were kept at 0 or above. Log-probabilities? A loss is their negative; "
            "else fit with --min-plateau none."
        )
    limited = told["status_counts"].get(Status.MAX_STEPS.name, 0)
    if limited > _MANY * told["tokens"]:
        yield f"{count(limited)} fits reached the step limit: {_cure(Status.MAX_STEPS)}"
    if told["noise_not_estimated"]:
        yield (
            f"{count(told['noise_not_estimated'])} tokens have too few points for an estimate of their own noise; "
            "their standard errors may be too small."
        )
    if told["few_effective_points"]:
        yield (
            f"{count(told['few_effective_points'])} tokens have noise too correlated to tell how large it is; their "
            "intervals may hold less than they say."
        )
    if fits.left_out_checkpoints:
        which = ", ".join(map(str, fits.left_out_checkpoints))
        yield f"Checkpoint {which} (counted from 0) was left out: a log scale has no place for its value."
