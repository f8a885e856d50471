"""The public surface, which package may import which, and what importing costs."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tsl_jax

ROOT = Path(tsl_jax.__file__).parent

PUBLIC = {
    "FAMILIES",
    "Category",
    "Family",
    "Fit",
    "FitOptions",
    "FitSummary",
    "Hyperbola",
    "LeastSquaresFit",
    "LeastSquaresOptions",
    "Parameter",
    "PowerLaw",
    "Sigmoid",
    "Status",
    "create_losses",
    "curve_counts",
    "fit",
    "fit_store",
    "least_squares",
    "open_fits",
    "open_losses",
    "predict_store",
    "validate",
}

#: Packages of tsl_jax that each of them may import, from the bottom up.
MAY_IMPORT = {
    "curves": set(),
    "lm": {"curves"},
    "spectrum": {"curves", "lm"},
    "temporal": {"curves", "lm"},
    "reshape": {"curves", "lm"},
    "simulate": {"curves", "lm"},
    "store": set(),
    "data": set(),
    "pipeline": {"store", "curves", "lm", "spectrum", "temporal", "reshape"},
    "collect": {"store", "curves", "lm"},
}
NUMERICAL = ("curves", "lm", "spectrum", "temporal", "reshape", "simulate")
NOT_NUMERICAL = {
    *(
        "zarr",
        "matplotlib",
        "rich",
        "typer",
        "xarray",
        "os",
        "io",
        "sys",
        "pathlib",
        "shutil",
        "tempfile",
        "logging",
    ),
    *("subprocess", "threading", "json", "pickle", "urllib", "numcodecs", "obstore"),
}


def modules():
    return sorted(ROOT.rglob("*.py"))


def imports(path):
    """Absolute names of all modules that a file imports, at any depth."""
    package = ("tsl_jax", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names if not node.module)


def packages_used(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "tsl_jax" and len(parts) > 1:
            yield parts[1]


def test_the_public_names_are_these():
    assert set(tsl_jax.__all__) == PUBLIC
    assert len(tsl_jax.__all__) == len(PUBLIC)
    for name in tsl_jax.__all__:
        assert getattr(tsl_jax, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = tsl_jax.no_such_name


@pytest.mark.parametrize("name", sorted(tsl_jax.__all__))
def test_every_public_name_is_documented(name):
    value = getattr(tsl_jax, name)
    if not callable(value):
        return
    text = inspect.getdoc(value)
    assert text
    assert text.splitlines()[0].rstrip().endswith((".", ":"))
    # A dataclass without a docstring would get its signature for one.
    assert not text.startswith(f"{name}(")
    if inspect.isfunction(value) and len(inspect.signature(value).parameters) > 2:
        for part in ("Args:", "Returns:", "Raises:", ">>> "):
            assert part in text, f"{name} lacks {part}"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    for path in (ROOT / package).rglob("*.py"):
        others = set(packages_used(path)) - {package}
        assert others <= MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {others}"


@pytest.mark.parametrize("package", NUMERICAL)
def test_numerical_packages_touch_no_files(package):
    for path in (ROOT / package).rglob("*.py"):
        used = {name.split(".")[0] for name in imports(path)}
        assert not used & NOT_NUMERICAL, f"{path.relative_to(ROOT)} imports {used & NOT_NUMERICAL}"
        calls = {
            n.func.id
            for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert not calls & {"print", "open", "input", "exec", "eval"}, path


def test_stores_know_nothing_of_jax():
    for path in (ROOT / "store").rglob("*.py"):
        assert "jax" not in {name.split(".")[0] for name in imports(path)}, path


def test_nobody_below_imports_the_command_line_or_plots():
    for path in modules():
        package = path.relative_to(ROOT).parts[0]
        if package not in ("cli", "report", "plots", "__init__.py", "__main__.py"):
            assert not set(packages_used(path)) & {"cli", "report", "plots"}, path


def test_nothing_private_of_jax_is_used():
    for path in modules():
        assert not any(name.startswith("jax._src") for name in imports(path)), path


def test_no_broad_except():
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None
                or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
            ):
                # Raised again here, or kept for another thread that raises it.
                kept = [n.value for n in ast.walk(node) if isinstance(n, ast.Assign) and isinstance(n.value, ast.Name)]
                assert any(isinstance(n, ast.Raise) for n in node.body) or any(
                    value.id == node.name for value in kept
                ), f"{path}:{node.lineno}"


IMPORT = """
import sys, jax
before = dict(jax.config.values)
threads = __import__("threading").active_count()
import tsl_jax
assert dict(jax.config.values) == before, "configuration changed"
slow = {"zarr", "matplotlib", "scipy.stats", "rich", "typer", "xarray", "optax", "pandas"} & set(sys.modules)
assert not slow, slow
assert __import__("threading").active_count() == threads
# A backend that is running refuses another number of CPU devices.
jax.config.update("jax_num_cpu_devices", 3)
assert jax.device_count("cpu") == 3
"""


def test_importing_starts_nothing_and_changes_nothing():
    done = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
