"""The public surface, which package may import which, and what importing costs."""

import ast
import dataclasses
import doctest
import enum
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tsl_jax

ROOT, CHECKOUT = Path(tsl_jax.__file__).parent, Path(__file__).parents[1]

PUBLIC = {
    "Category",
    "ChinchillaLaw",
    "FAMILIES",
    "Family",
    "Fit",
    "FitOptions",
    "FitSummary",
    "Hyperbola",
    "Interval",
    "LeastSquaresFit",
    "LeastSquaresOptions",
    "LossWriter",
    "NoiseModel",
    "Parameter",
    "PowerLaw",
    "Sigmoid",
    "Spectrum",
    "Status",
    "best_schedule",
    "collect",
    "combine_fits",
    "compare",
    "create_losses",
    "curve_counts",
    "decompose",
    "evolution",
    "export_fits",
    "fit",
    "fit_size_law",
    "fit_store",
    "forecast",
    "import_losses",
    "least_squares",
    "load_kernel",
    "lr_sum",
    "noise_model",
    "open_fits",
    "open_losses",
    "position_law",
    "predict_store",
    "profile_interval",
    "rank",
    "score_store",
    "separation",
    "spectrum_of",
    "time_law",
    "validate",
    "with_run_components",
}
#: Packages that ``import tsl_jax; tsl_jax.data`` finds.
PACKAGES = {"data", "plots", "report", "reshape", "simulate"}

#: What they share: checks of arguments, switches of JAX, devices, who presents results, classes of results, codes.
SHARED = {"arguments", "jax_switches", "devices", "presentation", "pytrees", "codes"}
#: Packages of tsl_jax that each of them may import, from the bottom up.
MAY_IMPORT = {
    "curves": SHARED,
    "linalg": SHARED,
    "fitting": {"cache", "curves", "linalg", *SHARED},
    "spectrum": {"curves", "linalg", "fitting", *SHARED},
    "temporal": {"curves", "linalg", "fitting", *SHARED},
    "reshape": {"curves", "fitting", "spectrum", *SHARED},
    "simulate": {"curves", "fitting", *SHARED},
    "runs": {"curves", "fitting", *SHARED},
    "store": {"terminal_text", "arguments", "presentation"},
    "data": set(),
    "stream": {"cache", "messages", "store", *SHARED},
    "jobs": {
        *(
            "terminal_text",
            "pace",
            "store",
            "stream",
            "curves",
            "fitting",
            "spectrum",
            "temporal",
            "reshape",
            "simulate",
            "runs",
        ),
        *SHARED,
    },
    "collection": {"store", "stream", "curves", "fitting", "temporal", "arguments"},
}
NUMERICAL = ("curves", "linalg", "fitting", "spectrum", "temporal", "reshape", "simulate", "runs")
#: Of the numerical packages this alone touches files: it builds the kernel in C++, and keeps it.
BUILDS = ROOT / "fitting" / "native"
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
    assert set(tsl_jax.__all__) == PUBLIC | PACKAGES
    assert len(tsl_jax.__all__) == len(PUBLIC | PACKAGES)
    for name in tsl_jax.__all__:
        assert getattr(tsl_jax, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = tsl_jax.no_such_name


def lacking(value):
    """What the docstring of a public function or class lacks."""
    text = inspect.getdoc(value) or ""
    first = text.partition("\n")[0].rstrip()
    lacks = [] if first.endswith((".", ":")) and not first.startswith(f"{value.__name__}(") else ["a first line"]
    # A dataclass without a docstring has its signature for one, an enumeration that of its base.
    lacks += ["a docstring of its own"] * (isinstance(value, type) and not vars(value).get("__doc__"))
    if inspect.isfunction(value):
        names, sections = list(inspect.signature(value).parameters), ["Args:", "Returns:"]
        raises = any(
            isinstance(node, ast.Raise) for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(value))))
        )
        sections += ["Raises:"] * (raises or len(names) > 2)
    elif issubclass(value, enum.Enum):
        names, sections = list(value.__members__), ["Attributes:"]
    else:
        assert dataclasses.is_dataclass(value), "a public name of a new kind: say here what its docstring needs"
        names = [field.name for field in dataclasses.fields(value)]
        sections = ["Attributes:" if "Attributes:" in text else "Args:"]
    lacks += [section for section in sections if not re.search(rf"^{section}$", text, re.MULTILINE)]
    lacks += [f"what {name} is" for name in names if not re.search(rf"^    (\\?\*)*{name}: \S", text, re.MULTILINE)]
    found = doctest.DocTestFinder(recurse=False).find(value, value.__name__)
    examples = [example for test in found for example in test.examples if doctest.SKIP not in example.options]
    return lacks + ["a runnable example that shows a result"] * (not any(example.want for example in examples))


DOCUMENTED = sorted(name for name in PUBLIC if callable(getattr(tsl_jax, name)))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_public_name_is_documented(name):
    assert lacking(getattr(tsl_jax, name)) == []


def test_names_that_are_no_functions_or_classes_are_few():
    assert PUBLIC - set(DOCUMENTED) == {"FAMILIES"}


def specimen(one, two):
    """Adds.

    Args:
        one: a number.

    Example:
        >>> specimen(1, 2)  # doctest: +SKIP
        3
    """
    if one is None:
        raise TypeError
    return one + two


@dataclasses.dataclass
class Specimen:
    """Holds.

    Attributes:
        one: a number.

    Example:
        >>> _ = Specimen(1, 2)
    """

    one: int
    two: int


def test_what_a_docstring_lacks_is_seen():
    example = "a runnable example that shows a result"
    assert lacking(specimen) == ["Returns:", "Raises:", "what two is", example]
    assert lacking(Specimen) == ["what two is", example]
    bare = dataclasses.make_dataclass("Bare", ["one"])
    assert lacking(bare) == ["a first line", "Args:", "what one is", example]
    assert lacking(enum.Enum("Empty", ["one"])) == [
        *("a docstring of its own", "Attributes:", "what one is", example),
    ]


@pytest.mark.parametrize(
    "package", ["tsl_jax.curves", "tsl_jax.fitting", "tsl_jax.store", "tsl_jax.stream", "tsl_jax.jobs", "tsl_jax.plots"]
)
def test_what_packages_offer_is_documented(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        assert not callable(value) or getattr(value, "__doc__", None), name


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    for path in (ROOT / package).rglob("*.py"):
        others = set(packages_used(path)) - {package}
        assert others <= MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {others}"


@pytest.mark.parametrize("package", NUMERICAL)
def test_numerical_packages_touch_no_files(package):
    for path in (ROOT / package).rglob("*.py"):
        if BUILDS in path.parents:
            continue
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


PRIVATE = {"jax": r"jax\._src(?:\.\w+)*", "zarr": r"zarr(?:\.\w+)*?\.(?:core|_(?!_)\w+)(?:\.\w+)*"}


def private_names(tree, package):
    """Private modules of a package that a syntax tree names: in imports, in attributes, in text that is one name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        else:
            continue
        yield from (name for name in names if re.fullmatch(PRIVATE[package], name))


@pytest.mark.parametrize(("package", "folders"), [("jax", "tsl_jax"), ("zarr", "tsl_jax tests benchmarks scripts")])
def test_nothing_private_is_used(package, folders):
    for folder in folders.split():
        for path in sorted((ROOT if folder == "tsl_jax" else CHECKOUT / folder).rglob("*.py")):
            found = list(private_names(ast.parse(path.read_text()), package))
            assert not found, f"{path} uses {found}"


@pytest.mark.parametrize(
    "code",
    [
        "import zarr.core.sync",
        "from zarr.core import sync",
        "from zarr import core",
        "from zarr.storage._utils import normalize_path",
        "zarr.core.buffer.default_buffer_prototype()",
        "importlib.import_module('zarr.core.sync')",
        "monkeypatch.setattr('zarr.storage._local.LocalStore', None)",
        "from jax._src import xla_bridge",
        "jax._src.config.x()",
    ],
)
def test_private_names_are_seen(code):
    assert list(private_names(ast.parse(code), "jax" if "jax" in code else "zarr"))


def test_public_names_are_no_private_ones():
    code = "from zarr.buffer import cpu\nzarr.storage.LocalStore\nimport zarr.abc.store\nzarr.Array.__getitem__"
    assert not list(private_names(ast.parse(code), "zarr"))


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


def test_the_names_are_listed_once():
    """The stub `tsl_jax/__init__.pyi` says where each name is, to type checkers and to Python."""
    assert dir(tsl_jax) == sorted(tsl_jax.__all__)
    assert (ROOT / "py.typed").exists()


IMPORT = """
import sys
import tsl_jax
assert not {"jax", "numpy", "zarr"} & set(sys.modules), "imported before it is used"
import jax
before = dict(jax.config.values)
threads = __import__("threading").active_count()
assert tsl_jax.fit and tsl_jax.Sigmoid and tsl_jax.least_squares
assert dict(jax.config.values) == before, "configuration changed"
slow = {"zarr", "matplotlib", "scipy.stats", "rich", "typer", "xarray", "optax", "pandas"} & set(sys.modules)
assert not slow, slow
assert tsl_jax.fit_store and tsl_jax.open_losses
slow = {"matplotlib", "scipy", "rich", "typer", "xarray", "optax", "pandas"} & set(sys.modules)
assert not slow, slow
assert __import__("threading").active_count() == threads
# A backend that is running refuses another number of CPU devices.
jax.config.update("jax_num_cpu_devices", 3)
assert jax.device_count("cpu") == 3
"""


def test_importing_starts_nothing_and_changes_nothing():
    done = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
