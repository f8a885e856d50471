"""The command `tsl`: one file a sub-command; what takes long to import is imported when it is used."""

import contextlib
import os
import re
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..cache import CacheWarning, compiled_folder, keep_programs
from . import (
    bench,
    collect,
    compare,
    demo,
    export,
    fit,
    forecast,
    importing,
    info,
    plot,
    positions,
    rank,
    rechunk,
    report,
    scaling,
    schedule,
    score,
    simulate,
    spectrum,
    timescale,
    validate,
)
from .streams import say, stderr_console

app = typer.Typer(
    name="tsl",
    help="Laws of language-model training, fitted to every token. Every command takes --json for "
    "machine-readable output on stdout. Results go to stdout, progress and warnings to stderr.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command("demo")(demo.demo)
app.command("import")(importing.import_losses)
app.command("info")(info.info)
app.command("validate")(validate.validate)
app.command("rechunk")(rechunk.rechunk)
app.command("fit")(fit.fit)
app.command("compare")(compare.compare)
app.command("spectrum")(spectrum.spectrum)
app.command("positions")(positions.positions)
app.command("forecast")(forecast.forecast)
app.command("timescale")(timescale.timescale)
app.command("rank")(rank.rank)
app.command("schedule")(schedule.schedule)
app.command("scaling")(scaling.scaling)
app.command("score")(score.score)
app.command("plot")(plot.plot)
app.command("export")(export.export)
app.command("simulate")(simulate.simulate)
app.command("report")(report.report)
app.command("bench")(bench.bench)
app.add_typer(collect.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _tsl(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    pass


#: What JAX says of a program that a kill or a loss of power cut; it would keep the file, and say so each time.
_DAMAGED_PROGRAM = re.compile(r"Error reading persistent compilation cache entry for '([\w.<>-]+)'")


def _forget_program(name: str) -> None:
    """Delete the compiled programs of one name from the cache that `keep_programs` chose: JAX then writes them anew."""
    folder = compiled_folder("programs")
    if folder is None or os.environ.get("JAX_COMPILATION_CACHE_DIR") != str(folder):
        return
    for path in folder.glob(f"{name}-*-cache"):
        with contextlib.suppress(OSError):
            path.unlink()


def _showing_in_a_line(show: Callable[..., None]) -> Callable[..., None]:
    """Python's way to show warnings, but what is meant for users without a place in the source."""

    def show_warning(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if issubclass(category, CacheWarning):
            say(stderr_console(), f"warning: {message}", "yellow")
        elif damaged := _DAMAGED_PROGRAM.match(str(message)):
            _forget_program(damaged[1])
            words = f"warning: the compiled program {damaged[1]} in the cache was damaged and is compiled again"
            say(stderr_console(), words, "yellow")
        else:
            show(message, category, *place)

    return show_warning


def main() -> None:
    """Run the command `tsl` with the arguments of this process."""
    warnings.showwarning = _showing_in_a_line(warnings.showwarning)
    keep_programs()
    app()


__all__ = ["app", "main"]
