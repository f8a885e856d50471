"""What a run did, in words."""

from typing import TYPE_CHECKING, Any

from ..messages import in_words_of_the_command
from ..pace import duration
from .streams import say, stderr_console, warn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from ..jobs import FitSummary
    from ..stream import StageSeconds

#: The stages of a run, and what they are called in a sentence.
STAGES = {
    "read": "Reading",
    "decode": "Decoding",
    "transfer": "The way to the device",
    "fit": "Fitting",
    "write": "Writing",
}


def print_summary(console: "Console", summary: "FitSummary") -> None:
    """What a run did, in words on stderr."""
    from rich.table import Table

    from ..fitting import Category, Status

    if summary.left_out_checkpoints:
        warn(left_out_note(summary.left_out_checkpoints))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="left", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="left")
    for name, count in summary.category_counts.items():
        if count:
            table.add_row(name, f"{count:,}", Category[name].meaning)
        if name == "LEARNED" and count and summary.learned_rising is not None:
            table.add_row("  falling", f"{summary.learned_falling:,}", "The loss falls: learned.")
            table.add_row("  rising", f"{summary.learned_rising:,}", "The loss rises: forgotten.")
    for name, count in summary.status_counts.items():
        if count:
            table.add_row(name, f"{count:,}", in_words_of_the_command(Status[name].cause_and_cure))
    console.print(table)
    if summary.negative_losses:
        warn(NEGATIVE)
    for bad in summary.bad_chunks:
        say(stderr_console(), f"skipped: {bad}", "red")
    for line in noise_words(summary.as_dict()):
        say(console, line)
    for damage in summary.repaired:
        warn(f"damaged, fitted anew: {damage.partition('; expected')[0]}")
    say(console, run_words(summary))


NEGATIVE = (
    "Most losses are negative, and fits are kept at --min-plateau 0 or above. Log-probabilities? A loss is -x; for "
    "quantities that may be negative fit with --min-plateau none."
)

_NOISE = {
    "estimated": "correlation {:.2f} between neighbouring checkpoints (mean over a sample of the tokens)",
    "given": "correlation {:.2f} between neighbouring checkpoints (mean; of the model that was given)",
    "alone": "each token's own residuals alone",
    "too few curves": "each token's own residuals alone; too few tokens of the sample have residuals that say more",
    "independent": "taken for independent between checkpoints",
    "combined": "that of the runs that are combined",
}
_MORE = "Measure more checkpoints, or take the noise of other fits of these checkpoints (--noise FITS)."


def noise_words(said: "Mapping[str, Any]") -> list[str]:
    """What errors and categories rest on, from a `FitSummary` as a dictionary or from what `tsl info` says."""
    lines = [f"Noise: {_NOISE[said['noise_source']].format(said['noise_correlation'])}."]
    if said["median_effective_points"] is not None:
        points = f"{said['median_effective_points']:.3g} of {said['checkpoints']:,} checkpoints"
        lines.append(f"Effective points: {points} (median: as many independent ones would say as much of a mean loss).")
    if said["noise_not_estimated"]:
        number = f"{said['noise_not_estimated']:,} tokens with fewer than 3 points a parameter, or without residuals"
        shared = said["noise_source"] in ("estimated", "given")
        taken = "that of all tokens as it is." if shared else f"independent noise, which may be too small. {_MORE}"
        if said["noise_source"] == "combined":
            taken = "that of the runs."
        lines.append(f"Noise not estimated: {number}; their errors take {taken}")
    if said["few_effective_points"]:
        number = f"{said['few_effective_points']:,} tokens whose noise is too correlated to tell how large it is"
        lines.append(f"Few effective points: {number}; their intervals may hold less than they say. {_MORE}")
    if said["second_events"]:
        lines.append(f"Second events: {said['second_events']:,} tokens have one more likely than not (not fitted).")
    return lines


def run_words(summary: "FitSummary") -> str:
    """``"25,600 tokens fitted in 2.6 s ..."``."""
    others = f" {summary.pending:,} tokens are not fitted yet, by other parts." if summary.pending else ""
    if not summary.tokens_run:
        which = "of this part" if summary.pending else f"{summary.tokens:,}"
        return f"Nothing to do: all {which} tokens are fitted.{others}"
    where = f"{summary.devices}, {summary.kernel_name} kernel"
    where = f"{summary.workers} tasks at a time, each on {where}" if summary.workers else where
    return (
        f"{summary.tokens_run:,} of {summary.tokens:,} tokens fitted in this run: "
        f"{summary.fits_per_second:,.0f} fits/s while fitting ({where}), "
        f"{summary.compile_seconds:.1f} s for compiling, {duration(summary.wall_seconds)} in all. "
        f"{stage_words(summary.stages)}{others}"
    )


def stage_words(stages: "StageSeconds") -> str:
    """``"Fitting set the rate; seconds at work: read 0.1, ..."``: what overlaps is counted in each."""
    seconds = {name: getattr(stages, name) for name in STAGES}
    at_work = ", ".join(f"{name} {value:.3g}" for name, value in seconds.items())
    return f"{STAGES[stages.limit]} set the rate; seconds at work: {at_work}."


def warn_of_slow_fits(summary: "FitSummary", asked: str) -> None:
    """Say why XLA did fits that the kernel in C++ could have done on this machine, and what that costs."""
    import jax

    from ..fitting import load_kernel

    here = asked == "auto" and summary.kernel_name == "xla" and not summary.workers and jax.default_backend() == "cpu"
    reason = load_kernel() if here else None
    if reason is not None:
        warn(
            f"XLA did the fits, in some ten times the processor time of the kernel in C++, and compiled for longer: "
            f"{reason}. The fits agree to rounding."
        )


def left_out_note(columns: tuple[int, ...]) -> str:
    """Why checkpoints were not used."""
    which = ", ".join(map(str, columns))
    return f"Left out: checkpoint {which} (axis value 0), which a log scale has no place for."
