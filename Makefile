# The two commands of the README are `make demo` and `make test`; both set up .venv on their first call
# and work offline afterwards.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

# Tests start some hundred processes: whoever forbids bytecode makes each of them compile everything anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test check system-test bench bench-memory soak docs schemas sandbox audit format clean

demo: $(VENV)/.sandbox-ready
	$(BIN)/ocps sandbox demo

test: $(VENV)/.dev-ready
	$(PYTEST) -n 4 --dist loadgroup -m "not system"

check: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/bandit --quiet --ini setup.cfg --recursive python
	$(BIN)/python tests/support/tree_rules.py

# `make system-test BROKERS=apache_secure` runs every test that asks for a broker on that one, and no other test.
system-test: $(VENV)/.dev-ready
	.ci/install-system-packages
	PYTHONPATH=tests $(BIN)/python -m support.system_needs
	$(PYTEST) -n 3 --dist loadgroup $(if $(BROKERS),--brokers $(BROKERS),-m system)

# `make bench BENCH="--part runs --quick"` has one part, shortly; the report is of the last of each part.
bench: $(VENV)/.dev-ready
	PYTHONPATH=tests $(BIN)/python -m benchmarks $(BENCH)

# Ten minutes of events on each broker, the memory watched; `make bench` has half a minute of it.
bench-memory: $(VENV)/.dev-ready
	PYTHONPATH=tests $(BIN)/python -m benchmarks --part memory --soak 600 \
	    --output benchmarks/results/memory.rst

# Half an hour of runs on Apache Kafka, with a SIGKILL of CSC, service or broker every 20 s; `make soak
# SOAK="--duration 240"` has less. The status is 1 if anything was lost or doubled.
soak: $(VENV)/.dev-ready
	.ci/install-system-packages
	PYTHONPATH=tests $(BIN)/python -m benchmarks.soak $(SOAK)

docs: $(VENV)/.docs-ready
	$(BIN)/sphinx-build -q -W -n -b html doc doc/_build/html

# What configuration files and payload definitions may say, for editors and other tools.
schemas: $(VENV)/.dev-ready
	$(BIN)/ocps config schema --output doc/schemas

sandbox: $(VENV)/.sandbox-ready
	$(BIN)/ocps sandbox up

# Known vulnerabilities of all dependencies; it asks PyPI, and fails where that gives no answer for one of them.
# An exception is named here, --ignore-vuln ID, with its reason.
audit: $(VENV)/.audit-ready
	$(BIN)/pip-audit --local --skip-editable --strict --progress-spinner off

format: $(VENV)/.dev-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist doc/_build doc/api .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An extra is installed once, and again when setup.cfg changes.
$(VENV)/.%-ready: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "$(PYTHON) is older than 3.11; call make PYTHON=python3.11 (or newer)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
