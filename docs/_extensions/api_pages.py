"""The API pages: one for each package, written when the site is built; an undocumented public name is an error.

What a docstring calls by name is a link, whichever package lists it: `public_names` knows each by all of its names.
"""

import importlib
import importlib.util
import pkgutil
from pathlib import Path

from docutils import nodes
from public import PublicName, public_names, public_packages
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)
SECTIONS = {"class": "Classes", "function": "Functions", "data": "Constants"}


def write_pages(app: Sphinx) -> None:
    """Write generated/PACKAGE.rst of every package, and warn of names without a docstring or comment."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    names = public_names()
    for found in names:
        if not found.documentation:
            logger.warning("%s is public and has no docstring, or no comment that begins with #:", found.full)
    for package in public_packages():
        _write(folder / f"{package}.rst", _page(package, [found for found in names if package in found.packages]))


def _page(package: str, names: list[PublicName]) -> str:
    here = [found for found in names if found.package == package]
    lines = [package, "=" * len(package), "", f".. automodule:: {package}", ""]
    if elsewhere := [f":py:obj:`{found.name} <{found.full}>`" for found in names if found.package != package]:
        lines += [f"Also of this package, documented elsewhere: {', '.join(elsewhere)}.", ""]
    for kind, title in SECTIONS.items():
        chosen = [found for found in here if found.kind == kind]
        if chosen:
            lines += [title, "-" * len(title), ""]
        if chosen and kind != "data":
            lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {found.name}" for found in chosen), ""]
        for found in chosen:
            lines += found.directive()
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """A page that stays the same keeps its time, so that it is not read again."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def link(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> nodes.Element | None:
    """A link for a name that no page has as it is written: one of another package, or without its package."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].removesuffix("()")
    documented = env.get_domain("py").objects  # type: ignore[attr-defined]
    for name in _candidates(target):
        if name in documented:
            entry = documented[name]
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)
    if target.startswith("tsl_jax.") and not _exists(target):
        logger.warning("%s does not exist", target, location=node)
    return None


def _candidates(target: str) -> list[str]:
    """Names under which a page may have it, the most exact first: `Fit.status` is described where `Fit` is."""
    parts, names = target.split("."), []
    for end in range(len(parts), 0, -1):
        head, rest = ".".join(parts[:end]), parts[end:]
        for known in (head, f"tsl_jax.{head}"):
            if full := _FULL.get(known):
                names += [".".join([full, *rest]), full]
    return names


def _exists(target: str) -> bool:
    """Whether there is such a thing; of what lies in a module that needs an extra, whether there is the module."""
    try:
        pkgutil.resolve_name(target)
    except (ImportError, AttributeError):
        return any(map(_needs_an_extra, (target, target.rpartition(".")[0])))
    return True


def _needs_an_extra(module: str) -> bool:
    """Whether there is a module of this name that cannot be imported here."""
    try:
        if importlib.util.find_spec(module) is None:
            return False
    except ImportError:  # what should hold it is no package
        return False
    try:
        importlib.import_module(module)
    except ImportError:
        return True
    return False


def _by_all_names() -> dict[str, str]:
    """From each name of a public object to the one that its page has; a last part alone where it is unique."""
    full, alone = {}, {}
    for found in public_names():
        full |= {f"{package}.{found.name}": found.full for package in ("tsl_jax", *found.packages) if package}
        if home := getattr(found.value, "__module__", None):
            full[f"{home}.{found.name}"] = found.full
        alone.setdefault(found.name, []).append(found.full)
    return {name: fulls[0] for name, fulls in alone.items() if len(fulls) == 1} | full


_FULL: dict[str, str] = {}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the pages and the links with Sphinx."""
    _FULL.update(_by_all_names())
    app.connect("builder-inited", write_pages, priority=100)
    app.connect("missing-reference", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
