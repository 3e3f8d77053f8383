# What a newcomer runs: `make demo`, `make test`. What CI runs: `.ci/run`.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test check bench results-learners results-curation

demo: .venv/installed
	@$(BIN)/tamis run digits

test: .venv/installed-dev
	$(BIN)/python -m pytest -m "not slow"

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks

# TAMIS_DATA is a folder with the data sets (benchmarks/results/inputs.py says which files); ONLY names some experiments.
results-learners: .venv/installed-dev
	$(BIN)/python -m benchmarks.results learners --data $(TAMIS_DATA) --store results-store $(if $(ONLY),--only $(ONLY))

# cleanlab and data-selection, with what they need, are no dependencies of tamis: they stand beside it in these tables alone.
results-curation: .venv/installed-dev
	@$(PIP) cleanlab==2.9.0 data-selection==1.0.3
	$(BIN)/python -m benchmarks.results curation --data $(TAMIS_DATA) --store results-store $(if $(ONLY),--only $(ONLY))

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing into .venv (once, some minutes)"
	@$(PYTHON) -m venv .venv
	@$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	@$(PIP) --editable '.[dev]'
	@touch $@
