# make study     from nothing to runs/demo/report.html: environment, corpus, sweep, fit, report
# make compare   the baselines and Longwave on equal budgets: runs/compare/report.html
# make test      all tests (ARGS="-k windows" selects some)
# make quick     the tests that take seconds
# make check     format, lint and types, as CI runs them
# make docs      write the generated documents: docs/commands.md, docs/configuration.md
# make matrix    write the table of faults in docs/reliability.md from the tests
# make site      the documents and the code reference as a site: site/index.html
# make trackers  install MLflow and Weights & Biases, for `cluster.trackers`
# make clean     remove the environment and the caches, but not runs/ and data/
#
# PYTHON=/path/to/python3.12 chooses the interpreter. ARGS="..." goes to the command of the target
# (of study: to the sweep).

# If a container sets it, every process of a run compiles Longwave again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(firstword $(shell command -v python3.11 python3))
ARGS ?=

VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
DEV := $(VENV)/.dev
GROUPS_OF_TESTS := $(DEV) $(VENV)/.trackers $(VENV)/.site
# Python compiles what it imports; compiling every installed file takes a minute more.
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --requirement
# Whole-system tests mostly wait, so two processes share the cores, with one thread each.
TESTS := OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

.PHONY: study compare test quick check docs matrix site trackers clean

study: $(INSTALLED)
	$(RUN) -m scaling prepare --config configs/corpora/embedded.yaml
	$(RUN) -m scaling sweep --config configs/sweeps/demo.yaml $(ARGS)
	$(RUN) -m scaling report runs/demo

compare: $(INSTALLED)
	$(RUN) -m scaling prepare --config configs/corpora/embedded.yaml
	$(RUN) -m scaling compare --config configs/compare/embedded.yaml $(ARGS)

test: $(GROUPS_OF_TESTS)
	$(TESTS) $(ARGS)

quick: $(GROUPS_OF_TESTS)
	$(TESTS) -m "not slow" $(ARGS)

check: $(DEV)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

docs: $(INSTALLED)
	@$(RUN) -m tests.helpers.generated_documents

matrix: $(GROUPS_OF_TESTS)
	@$(RUN) -m tests.helpers.fault_matrix

site: $(VENV)/.site
	$(RUN) -m sphinx --fail-on-warning --quiet -b html -c configs/site docs site
	@echo site/index.html

trackers: $(VENV)/.trackers

# A pin without a mark has no space. The stamp is newer than the pins if the environment has exactly
# these packages: --clear removes those that are no longer pinned.
$(INSTALLED): constraints.txt
	@test -n "$(PYTHON)" || { echo "Longwave needs Python 3.11 or newer and found no python3 on the \
	PATH. Install it, or run: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Longwave needs \
	Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Run: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V) and the pinned packages of constraints.txt"
	@$(PYTHON) -m venv --clear $(VENV)
	@grep -v ' ' constraints.txt >$(VENV)/runs.txt
	@$(INSTALL) $(VENV)/runs.txt
	@# Compile the imports once, and not in each of the processes that a run starts.
	@$(RUN) -c "import scaling.orchestration.train, scaling.sweeps.sweep, scaling.reporting.report"
	@touch $@

# An optional group: the pins that end with its mark.
$(GROUPS_OF_TESTS): $(VENV)/.%: $(INSTALLED)
	@grep ' # $*$$' constraints.txt >$(VENV)/$*.txt
	@$(INSTALL) $(VENV)/$*.txt
	@touch $@

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find datasets model scaling tests -name __pycache__ -type d -prune -exec rm -rf {} +
