"""What every sub-command shares: results on stdout, the rest on stderr, errors as one paragraph, exit codes."""

import contextlib
import enum
import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from ..messages import in_words_of_the_command, is_message
from .streams import close_for_good, json_alone, say, stderr_console, unwritten


class ExitCode(enum.IntEnum):
    """What `tsl` ends with; part of the interface."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BAD_CHUNKS = 3
    INTERRUPTED = 130


AnyStore = Annotated[
    str,
    typer.Argument(metavar="STORE", help="Loss or fit store: a directory, a zip file or a URL.", show_default=False),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Write one JSON object to stdout, and words for people to stderr; off by default."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; off by default.")]

#: Said below the traceback of an error that is no message.
_MISTAKE = "This is a mistake in tsl_jax, not in what you gave it: please report it with the lines above."


def write_json(value: Mapping[str, Any]) -> None:
    """The one object on stdout; what JSON has no number for is null.

    Raises:
        OutputError: stdout takes it not, for example because the disk is full. One who stops reading wants no more.
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    try:
        typer.echo("".join(_json_escape(character) for character in text))
    except OSError as error:
        close_for_good(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise unwritten(error, "the JSON object") from error


def _json_escape(character: str) -> str:
    """What a terminal obeys as JSON's own escape, so that the value stays what it is."""
    if character == "\n" or character.isprintable():
        return character
    return json.dumps(character)[1:-1] if ord(character) > 126 else f"\\u{ord(character):04x}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def reporting(as_json: bool, debug: bool) -> Iterator[None]:
    """Turn errors that are messages to the user into a paragraph and exit code 1; others keep their traceback."""
    try:
        with json_alone(as_json):
            yield
    except KeyboardInterrupt:
        say(
            stderr_console(),
            "Stopped. Nothing that was finished is lost; run the same command again to go on.",
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (ValueError, TypeError, OSError) as error:
        if not is_message(error):
            error.add_note(_MISTAKE)
            raise
        if debug:
            raise
        _tell(error, as_json)
        raise typer.Exit(ExitCode.FAILED) from None
    except (RuntimeError, AssertionError):
        missing = None if debug else _missing_device()
        if missing is None:
            raise
        _tell(missing, as_json)
        raise typer.Exit(ExitCode.FAILED) from None


def _with_a_way_out(error: Exception) -> str:
    """What an error says; the operating system's own ones name a file and a reason, and no more."""
    if type(error).__module__ != "builtins" or not isinstance(error, OSError) or not error.strerror:
        return str(error)
    from ..store.answers import cure_of, reason_of

    cure = cure_of(error, "either") or "Check the path"
    return f"{type(error).__name__}: {reason_of(error)}. {cure} and run the same command again."


def _tell(error: Exception, as_json: bool) -> None:
    text = in_words_of_the_command(_with_a_way_out(error))
    say(stderr_console(), f"error: {text}", "red")
    if as_json:
        write_json({"error": {"kind": type(error).__name__, "message": text}})


def _missing_device() -> Exception | None:
    """Why JAX has no device, which may be behind any error of its own; None if it has one, or is not in use."""
    if "jax" not in sys.modules:
        return None
    from ..devices import NoDeviceError, local_devices

    try:
        local_devices()
    except NoDeviceError as error:
        return error
    return None
