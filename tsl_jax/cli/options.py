"""Arguments and options that several commands have, each said once."""

from typing import Annotated, Any

import typer


def argument(metavar: str | None, help: str) -> Any:
    """An argument that must be given; without ``metavar`` it is called by its parameter, or by its choices."""
    return typer.Argument(metavar=metavar, help=help, show_default=False)


def needed(metavar: str, help: str) -> Any:
    """An option that must be given."""
    return typer.Option(metavar=metavar, help=help, show_default=False)


def unless_given(default: str, help: str, *names: str, **kwargs: Any) -> Any:
    """An option that may be left out; ``default`` says in words what then holds."""
    return typer.Option(*names, help=help, show_default=default, **kwargs)


def switch(name: str, help: str) -> Any:
    """An option without a value, off unless it is given."""
    return typer.Option(name, help=help)


def picture_of(what: str) -> Any:
    """``--picture``: the file into which ``what`` is drawn."""
    return unless_given("none", f"Draw {what} into this file.")


def _format(text: Any) -> str:
    return str(text).removeprefix(".")


Format = Annotated[
    str,
    typer.Option(
        "--format", help="What Matplotlib writes: png, svg, pdf, jpg, webp, ...", metavar="FORMAT", callback=_format
    ),
]
SigmoidFits = Annotated[str, argument("FITS", "Fit store of sigmoids: a directory, a zip file or a URL.")]
Replicates = Annotated[int, typer.Option(min=20, help="Replicates of the bootstrap over sequences.")]
BootstrapSeed = Annotated[int, typer.Option(help="Seed of the bootstrap.")]
