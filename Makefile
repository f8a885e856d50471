# One environment for everything: made once, remade when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test docs fuzz lint format bench wheel install gpu clean

demo: $(VENV)/installed
	$(BIN)/tsl demo

test: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# The site, in docs/_build/html; a warning is an error, such as a link to nothing or a public name without a docstring.
docs: $(VENV)/installed
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "The site: docs/_build/html/index.html"

# Damaged, hostile and changed input at random, for some minutes; the seeds are printed, TSL_FUZZ_SEED repeats one.
FUZZ ?= 1000
fuzz: $(VENV)/installed
	TSL_FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/fuzz -n auto --timeout 3600 -o faulthandler_timeout=3700

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks fitting
	$(BIN)/python -m benchmarks quality

# The source distribution and, out of it, the wheel for this platform, with its kernels: in dist/.
wheel: $(VENV)/installed
	TSL_JAX_NEEDS_KERNEL=1 $(BIN)/python -m build --outdir dist
	@echo "The wheel: $$(ls -t dist/*.whl | head -n 1)"

# The wheel in place of these sources: `PYTHONSAFEPATH=1 make test` then tests what users get, with the tests of this checkout.
install: wheel
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall "$$(ls -t dist/*.whl | head -n 1)"
	echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth"

# On a machine with an NVIDIA GPU: is the kernel right there, how is it best laid out, how fast is it; nine minutes.
gpu: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[cuda]'
	$(BIN)/python -m benchmarks.gpu

clean:
	rm -rf $(VENV) demo build dist docs/_build docs/generated .pytest_cache .ruff_cache .hypothesis

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
