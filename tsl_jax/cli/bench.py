"""`tsl bench`: how fast this machine fits, and what limits it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import fit_options as given
from .console import Debug, Json, reporting, write_json
from .devices import chosen_devices
from .streams import output_console, say
from .summary import stage_words

if TYPE_CHECKING:
    from rich.console import Console

    from ..jobs import Speed


def bench(
    losses: Annotated[
        str | None,
        typer.Argument(
            metavar="[LOSSES]",
            help="Loss store to read from, a few blocks only: a directory, a zip file or a URL. Without it planted "
            "sigmoids are written to a temporary folder.",
            show_default="none",
        ),
    ] = None,
    axis: Annotated[str, typer.Option(help="Axis of LOSSES: a checkpoint coordinate that increases.")] = "step",
    checkpoints: Annotated[int, typer.Option(help="Checkpoints of the planted sigmoids.")] = 64,
    seconds: Annotated[float, typer.Option(help="About how long each measurement takes, compiling apart.")] = 2.0,
    devices: Annotated[
        int | None, typer.Option(help="How many of the local devices to use.", show_default="all")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where the temporary folder is made: on the disk to measure.", show_default="the system's"),
    ] = None,
    kernel: given.Kernel = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure how many tokens a second this machine reads, fits, and fits from store to store; nothing is kept.

    The kernel fits blocks that lie on the device; reading stands alone; end to end reads, fits and writes at once. A
    store that was just written, or read before, comes from the system's cache: give LOSSES to measure your own disk or
    network. Half a minute or less, half of it compiling at first.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage; 130 stopped with Ctrl-C.
    """
    with reporting(as_json, debug):
        from ..jobs import measure_speed

        where = chosen_devices(devices)
        arguments = {"axis": axis, "checkpoints": checkpoints, "seconds": seconds, "devices": where, "folder": folder}
        arguments |= {"kernel": kernel}
        found = measure_speed(losses, **arguments)
        _print(output_console(), found)
        if as_json:
            write_json({"losses": losses} | found.as_dict())


def _print(console: "Console", found: "Speed") -> None:
    from rich.table import Table

    say(
        console,
        f"{found.tokens:,} tokens x {found.checkpoints} checkpoints, {found.dtype}; sigmoids on {found.devices} in "
        f"blocks of {found.block_tokens:,} tokens",
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    table.add_row(f"{found.kernel_name} kernel", f"{found.kernel:,.0f}", f"fits/s ({100 * found.settled:.1f}% settled)")
    table.add_row("reading", f"{found.read:,.0f}", f"tokens/s ({found.read_bytes / 1e9:.2f} GB/s of losses)")
    percent = 100 * found.end_to_end / min(found.kernel, found.read)
    table.add_row("end to end", f"{found.end_to_end:,.0f}", f"tokens/s ({percent:.0f}% of the slower of the two)")
    table.add_row("compiling", f"{found.compile_seconds:.1f}", "s, once for each number of checkpoints")
    table.add_row("copying", f"{found.copy_bytes / 1e9:.1f}", "GB/s, read and written, on a device")
    console.print(table)
    say(console, stage_words(found.stages))
