"""`tsl validate`: everything that is wrong with a store."""

import dataclasses
from typing import Annotated

import typer

from ..messages import in_words_of_the_command
from .console import AnyStore, Debug, ExitCode, Json, reporting, write_json
from .streams import output_console, say

Deep = Annotated[
    bool,
    typer.Option(
        "--deep",
        help="Read everything: losses against the checksums of their chunks, fits against their ledger.",
    ),
]


def validate(
    store: AnyStore,
    deep: Deep = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List all that breaks the schema of a loss or fit store: where, what, what is expected, the way out.

    Chunks that are lost or empty are found by listing the store; nothing is read but the axes, unless --deep. Notes are
    about speed and completeness; a store with notes alone is valid.

    Exit codes: 0 valid; 1 not valid, or no store; 2 wrong usage.
    """
    with reporting(as_json, debug):
        from ..store import validate as check

        violations = check(store, deep=deep)
        errors = [violation for violation in violations if violation.level == "error"]
        console = output_console()
        for violation in violations:
            words = in_words_of_the_command(str(violation))
            say(console, f"{violation.level}: {words}", "red" if violation.level == "error" else "yellow")
        notes = len(violations) - len(errors)
        verdict = f"not valid, {_number(len(errors), 'error')}" if errors else "valid"
        say(console, f"{store}: {verdict}" + (f", {_number(notes, 'note')}" if notes else ""))
        if as_json:
            found = [dataclasses.asdict(violation) for violation in violations]
            write_json({"store": store, "valid": not errors, "violations": found})
    if errors:
        raise typer.Exit(ExitCode.FAILED)


def _number(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")
