"""`tsl report`: one HTML page for the fits of a run."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from .console import Debug, Json, reporting, write_json
from .options import argument, unless_given
from .output_files import check_file
from .streams import output_console, say, stderr_console, warn

if TYPE_CHECKING:
    from ..report import Findings


def report(
    fits: Annotated[str, argument("FITS", "Fit store: a directory, a zip file or a URL.")],
    losses: Annotated[
        str | None,
        unless_given(
            "none", "Loss store of the fits: for the mean loss, positions, the forecast and the tokens' own losses."
        ),
    ] = None,
    compare: Annotated[
        str | None, unless_given("none", "Fit store of the same tokens in another training run.", metavar="FITS")
    ] = None,
    out: Annotated[
        Path, unless_given("report.html", "The file to write; what is there under that name is replaced.")
    ] = Path("report.html"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one HTML page for FITS that opens offline: quality, learning times, spectrum, positions, forecast, tokens.

    A section that cannot be made says why. Every number is the one that tsl info, spectrum, positions, forecast and
    compare print. Needs Plotly and Jinja: pip install 'tsl_jax\\[report]'.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage; 130 stopped with Ctrl-C.
    """
    with reporting(as_json, debug):
        from ..report import write_report

        check_file(out, (".html", ".htm"), "--out")
        begun = time.monotonic()
        console = stderr_console()
        found = write_report(
            fits, out, losses=losses, compare=compare, progress=lambda part: say(console, f"report: {part}")
        )
        said = describe(found) | {
            "report": str(out),
            "bytes": out.stat().st_size,
            "seconds": round(time.monotonic() - begun, 2),
        }
        for name, reason in said["missing"].items():
            warn(f"{name}: {reason}")
        say(output_console(), f"Written: {out} ({said['bytes'] / 2**20:.1f} MiB)", "green")
        if as_json:
            write_json(said)


def describe(found: "Findings") -> dict[str, Any]:
    """Which sections there are, and why others are not."""
    from ..report.findings import PARTS, Unavailable

    parts = {name: getattr(found, name) for name in PARTS}
    missing = {name: part.reason for name, part in parts.items() if isinstance(part, Unavailable)}
    return {
        "fits": found.fits.name,
        "losses": found.losses.name if found.losses is not None else None,
        "tokens": found.fits.num_tokens,
        "sections": [name for name, part in parts.items() if part is not None and name not in missing],
        "missing": missing,
    }
