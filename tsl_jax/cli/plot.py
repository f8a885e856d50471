"""`tsl plot`: the pictures of the demo for any store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import parsing
from .console import Debug, Json, reporting, write_json
from .options import Format, argument, unless_given
from .output_files import check_picture
from .streams import output_console, say

if TYPE_CHECKING:
    from ..store import FitStore, LossStore

#: What is drawn, in this order; each is a file of this name.
PICTURES = ("tokens", "learning_times", "mean_loss")


def plot(
    losses: Annotated[str, argument("LOSSES", "Loss store: a directory, a zip file or a URL.")],
    fits: Annotated[str, argument("FITS", "Its fit store, likewise.")],
    tokens: Annotated[
        Any,
        unless_given(
            "some of every kind",
            "Draw these tokens: their rows in the store, such as 3,17,100:105 (100 to 104).",
            parser=parsing.rows,
            metavar="ROWS",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help=f"Folder for the pictures ({', '.join(PICTURES)}); it is made if it is absent.")
    ] = Path("pictures"),
    ending: Format = "png",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw single tokens with their curves, when tokens are learned, and the mean loss with the mean of the fits.

    Memory does not grow with the stores. Fits of a family without events have no picture of learning times.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage; 130 stopped with Ctrl-C.
    """
    with reporting(as_json, debug):
        from ..store import open_fits, open_losses

        files = {name: out / f"{name}.{ending}" for name in PICTURES}
        for path in files.values():
            check_picture(path, "--format, --out")
        opened = open_losses(losses), open_fits(fits)
        if opened[1].event is None:
            del files["learning_times"]
        draw(*opened, files, tokens)
        written = [str(path) for path in files.values()]
        say(output_console(), "Written: " + ", ".join(written), "green")
        if as_json:
            write_json({"losses": losses, "fits": fits, "pictures": written})


def draw(losses: "LossStore", fits: "FitStore", files: dict[str, Path], tokens: Any = None) -> None:
    """Write pictures, each into the file of its name."""
    from .. import plots

    figures = {
        "tokens": lambda: plots.draw_tokens(plots.tokens_data(losses, fits, tokens=tokens)),
        "learning_times": lambda: plots.draw_learning_times(plots.learning_times_data(fits)),
        "mean_loss": lambda: plots.draw_mean_loss(plots.mean_loss_data(losses, fits)),
    }
    for name, path in files.items():
        plots.save(figures[name](), path)
