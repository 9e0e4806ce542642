# make study   from nothing to runs/demo/report.html: environment, corpus, sweep, fit, report
# make compare the baselines and Longwave on equal budgets, in one table: runs/compare/report.html
# make test    every test, the whole-system ones included (ARGS="-k windows" to choose)
# make quick   those that take seconds alone
# make site    the documents and the API as a site: site/index.html
# make matrix  what the tests show of faults and bad input, into docs/reliability.md
# make check   format, lint and types, as CI runs them
# make clean   removes the environment and the caches; runs/ and data/ stay
#
# PYTHON=/path/to/python3.12 chooses the interpreter, ARGS="..." goes to the command of the target
# (for study: to the sweep).

# A container that forbids it would have every process of a run compile Longwave anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(firstword $(shell command -v python3.11 python3))
ARGS ?=

VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
TRACKERS := $(VENV)/.trackers
SITE := $(VENV)/.site
# Python compiles what it imports; compiling all that is installed would take a minute more.
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --requirement
# Two processes share the cores, a thread each: whole-system tests wait for much of their time.
TESTS := OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

.PHONY: study compare test quick site matrix check clean

study: $(INSTALLED)
	$(RUN) -m scaling prepare --config configs/corpora/embedded.yaml
	$(RUN) -m scaling sweep --config configs/sweeps/demo.yaml $(ARGS)
	$(RUN) -m scaling report runs/demo

compare: $(INSTALLED)
	$(RUN) -m scaling prepare --config configs/corpora/embedded.yaml
	$(RUN) -m scaling compare --config configs/compare/embedded.yaml $(ARGS)

test: $(INSTALLED) $(TRACKERS) $(SITE)
	$(TESTS) $(ARGS)

quick: $(INSTALLED) $(TRACKERS) $(SITE)
	$(TESTS) -m "not slow" $(ARGS)

site: $(SITE)
	$(RUN) -m sphinx --fail-on-warning --quiet -b html -c configs/site docs site
	@echo site/index.html

matrix: $(INSTALLED) $(TRACKERS) $(SITE)
	@$(RUN) -m tests.helpers.fault_matrix

check: $(INSTALLED)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

# The stamp is newer than the pins when the environment holds exactly them. --clear, because an
# environment of older pins would keep what the new ones no longer name.
$(INSTALLED): constraints.txt
	@test -n "$(PYTHON)" || { echo "Longwave needs Python 3.11 or newer and found no python3 on the \
	PATH. Install it, or type: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Longwave needs \
	Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Type: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V) and the pinned packages of constraints.txt"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) constraints.txt
	@# Now, and not in each of the first processes that start at once.
	@$(RUN) -c "import scaling.orchestration.train, scaling.sweeps.sweep, scaling.reporting.report"
	@touch $@

# What runs need for none of the two commands, and the tests of it do.
$(TRACKERS): trackers.txt $(INSTALLED)
	@$(INSTALL) trackers.txt
	@touch $@

$(SITE): site.txt $(INSTALLED)
	@$(INSTALL) site.txt
	@touch $@

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find datasets model scaling tests -name __pycache__ -type d -prune -exec rm -rf {} +
