"""`tsl demo`: the main job on the packaged real losses, with pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Debug, Json, reporting, write_json
from .plot import PICTURES as NAMES
from .plot import draw
from .progress import showing_progress
from .streams import output_console, say
from .summary import print_summary

if TYPE_CHECKING:
    from rich.console import Console

    from ..jobs import FitSummary
    from ..store import FitStore
    from .solved import Solved

FITS, PICTURES = "fits.zarr", tuple(f"{name}.png" for name in NAMES)


def demo(
    out: Annotated[
        Path,
        typer.Option(
            help=f"Directory for the fit store ({FITS}) and the pictures ({', '.join(PICTURES)}); what an "
            "earlier demo wrote there is replaced."
        ),
    ] = Path("demo"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit a sigmoid to 25,600 tokens of a small language model trained on real text, and draw what comes out.

    The losses come with the package. It takes under a minute on two cores.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage; 130 stopped with
    Ctrl-C.
    """
    with reporting(as_json, debug):
        from ..curves import Sigmoid
        from ..data import sample_path
        from ..jobs import fit_store
        from ..store import open_fits, open_losses
        from ..store.errors import writing
        from .devices import chosen_devices
        from .solved import solved_by_scipy

        console = output_console()
        with writing(str(out), "a directory of this name", kept="Nothing was fitted."):
            out.mkdir(parents=True, exist_ok=True)
        losses = open_losses(sample_path())
        say(
            console,
            f"Losses: {losses.num_tokens:,} tokens x {losses.num_checkpoints} checkpoints of a real run",
        )
        with showing_progress() as show:
            arguments = {"devices": chosen_devices(None), "overwrite": True}
            summary = fit_store(sample_path(), out / FITS, Sigmoid(), **arguments, progress=show)
        fits = open_fits(out / FITS)
        draw(losses, fits, {name: out / f"{name}.png" for name in NAMES})
        solved = solved_by_scipy(losses, fits)
        said = describe(summary, fits, solved) | {
            "losses": str(sample_path()),
            "fits": str(out / FITS),
            "pictures": [str(out / name) for name in PICTURES],
        }
        print_summary(console, summary)
        _print(console, said)
        if as_json:
            write_json(said)


def describe(summary: "FitSummary", fits: "FitStore", solved: "Solved") -> dict[str, Any]:
    """The demo's result, as JSON can hold it."""
    from .solved import WITHIN

    settled = summary.status_counts["CONVERGED"] + summary.status_counts["AT_BOUND"]
    return summary.as_dict() | {
        "axis": fits.axis_name,
        "median_learning_time": median_learning_times(fits),
        "settled_share": settled / summary.tokens,
        "solved": {
            "share": solved.share,
            "sampled_tokens": solved.sampled,
            "meaning": f"rss within {WITHIN:.0%} of SciPy's best of {solved.starts} starts",
            "seconds": solved.seconds,
        },
    }


def median_learning_times(fits: "FitStore") -> dict[str, float]:
    """Median learning time of every domain, in axis units: tokens `LEARNED` with a loss that falls."""
    import numpy as np

    from ..fitting import Category
    from ..store.code_names import names_of_codes

    stored, domain = fits.read(), fits.read_coordinate("domain")
    learned = (stored.category == Category.LEARNED) & (stored.params["loss_drop"] > 0)
    return {
        name: float(np.median(stored.params["learning_time"][learned & (domain == code)]))
        for code, name in enumerate(names_of_codes(fits.attributes, "domain"))
    }


def _print(console: "Console", said: dict[str, Any]) -> None:
    medians = ", ".join(f"{name} {time:.0f}" for name, time in said["median_learning_time"].items())
    say(console, f"Median learning time (training step; LEARNED, loss falls): {medians}")
    say(console, f"Settled (CONVERGED or AT_BOUND): {said['settled_share']:.2%} of all tokens")
    solved = said["solved"]
    say(
        console,
        f"Solved ({solved['meaning']}): {solved['share']:.1%} of {solved['sampled_tokens']} random tokens",
    )
    say(console, "Written: " + ", ".join([said["fits"], *said["pictures"]]), "green")
