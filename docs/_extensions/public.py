"""The public names of tsl_jax: where each is documented, what it is, and what is said of it."""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer

import tsl_jax


@dataclasses.dataclass(frozen=True)
class PublicName:
    """A public object.

    Args:
        name: what its packages call it.
        package: that whose page documents it: tsl_jax if it lists the object, else the first that does.
        packages: all that list it.
        value: the object.
    """

    name: str
    package: str
    packages: tuple[str, ...]
    value: Any

    @property
    def full(self) -> str:
        """The name under which it is documented."""
        return f"{self.package}.{self.name}"

    @property
    def kind(self) -> str:
        """What Sphinx calls it: class, function or data."""
        if inspect.isclass(self.value):
            return "class"
        return "function" if inspect.isroutine(self.value) or inspect.isfunction(self.value) else "data"

    @property
    def documentation(self) -> str:
        """Its docstring, or the comment in front of a constant."""
        if self.kind == "data":
            return _comment(self.name, self.package)
        own = inspect.getdoc(self.value) or ""
        return "" if own.startswith(f"{self.name}(") else own  # what dataclasses write by themselves says nothing

    def directive(self) -> list[str]:
        """Lines of reStructuredText that document it."""
        if self.kind != "data":
            members = ["   :members:"] if self.kind == "class" else []
            return [f".. auto{self.kind}:: {self.full}", *members, ""]
        value = [f"   :value: {self.value!r}"] if isinstance(self.value, int | float | str) else []
        return [f".. py:data:: {self.full}", *value, "", f"   {self.documentation}", ""]


def public_packages() -> dict[str, ModuleType]:
    """tsl_jax, and the packages below it that say which of their names are public; the command has its own page."""
    below = [importlib.import_module(f"tsl_jax.{item.name}") for item in pkgutil.iter_modules(tsl_jax.__path__)]
    listed = {module.__name__: module for module in below if getattr(module, "__all__", None)}
    return {"tsl_jax": tsl_jax} | {name: listed[name] for name in sorted(listed) if name != "tsl_jax.cli"}


@functools.cache
def public_names() -> tuple[PublicName, ...]:
    """Every public object once, sorted by name."""
    found: dict[tuple[int, str], PublicName] = {}
    for package, module in public_packages().items():
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value):
                continue
            before = found.get((id(value), name)) if not isinstance(value, int | float | str) else None
            first, packages = (before.package, before.packages) if before else (package, ())
            found[id(value), name] = PublicName(name, first, (*packages, package), value)
    return tuple(sorted(found.values(), key=lambda name: name.full.lower()))


def _comment(name: str, package: str) -> str:
    """The comment `#: ...` where a constant of a package is assigned, wherever below the package that is."""
    module = importlib.import_module(package)
    folders = [*module.__path__]
    paths = [package, *(item.name for item in pkgutil.walk_packages(folders, f"{package}.", onerror=lambda _: None))]
    for path in paths:
        try:
            comments = ModuleAnalyzer.for_module(path).find_attr_docs()
        except PycodeError:  # it needs an extra that is not installed
            continue
        if text := comments.get(("", name)):
            return " ".join(line.strip() for line in text).strip()
    return ""
