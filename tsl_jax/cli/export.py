"""`tsl export`: fits as one table for other tools."""

from pathlib import Path
from typing import Annotated

from .console import Debug, Json, reporting, write_json
from .options import argument
from .output_files import check_file
from .progress import lines
from .streams import output_console, say, warn


def export(
    fits: Annotated[str, argument("FITS", "Fit store: a directory, a zip file or a URL.")],
    table: Annotated[
        Path, argument("TABLE", "File to write, .parquet or .csv; one that is there is replaced when the new is whole.")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write fits as one table with a row a token: its coordinates, parameters, errors, status and category in words.

    Memory does not grow with the store. TABLE is whole under its name, or not there. What is missing is null in
    Parquet, empty in CSV.

    Exit codes: 0 done, also for unfinished fits, with a warning; 1 refused or failed, with the reason on stderr; 2
    wrong usage; 130 stopped with Ctrl-C.
    """
    with reporting(as_json, debug):
        from ..jobs import TABLE_FILES, export_fits
        from ..store import open_fits

        check_file(table, TABLE_FILES, "TABLE")
        store, console = open_fits(fits), output_console()
        rows = export_fits(store, table, progress=lines("export"))
        pending = store.num_tokens - sum(store.ledger.status_counts().values())
        if pending:
            words = f"{pending:,} tokens are not fitted yet: their status is PENDING. Run the fit again to go on."
            warn(words)
        say(console, f"Written: {table}, {rows:,} rows", "green")
        if as_json:
            write_json({"fits": fits, "table": str(table), "rows": rows, "pending": pending})
