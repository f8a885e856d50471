"""Files of the components between runs: `tsl compare` writes them, `tsl compare` and `tsl score` read them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..runs import RunComponents

#: What a file of components says it is.
_KIND = "run_components"


def read_components(path: Path) -> "RunComponents":
    """The components in a file that `tsl compare --write-components` or `tsl compare --json` wrote."""
    from ..runs import RunComponents

    try:
        return RunComponents.from_dict(json.loads(path.read_text())["components"])
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--components") from None
    except (ValueError, TypeError, KeyError, UnicodeError, RecursionError) as error:
        raise typer.BadParameter(
            f"{path}: no components in it ({error}); expected what `tsl compare --write-components` wrote",
            param_hint="--components",
        ) from None


def check_components_file(path: Path | None) -> None:
    """Refuse a file to write components to that cannot be written, before the work."""
    if path is None:
        return
    if path.suffix != ".json":
        raise typer.BadParameter(f"got {str(path)!r}, expected a file ending in .json", param_hint="--write-components")
    if not path.parent.is_dir():
        raise typer.BadParameter(f"no such folder: {path.parent}", param_hint="--write-components")


def write_components(path: Path, components: "RunComponents", said: dict[str, Any]) -> None:
    """Write components, and of which runs they are."""
    from ..store.user_files import write_file

    kept = {"tsl_kind": _KIND} | {name: said[name] for name in ("runs", "axis", "scale")}
    text = json.dumps(kept | {"components": components.as_dict()}, indent=1, allow_nan=False) + "\n"
    write_file(path, "the components", lambda file: file.write(text.encode()))
