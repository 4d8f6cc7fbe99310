# Two commands: `make demo` shows LossLens on real trainings, `make test` runs everything that CI runs.
# Both set up .venv by themselves; nothing but git, python3 (3.10 or newer) with venv, and make is needed.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PAGE := tb_losslens/plugin/static/index.js
PROTOC := .tools/protoc/.ready
RUNS ?= demo/runs
# where `make demo` serves; 0 is any free port
PORT ?= 0

.PHONY: demo demo-runs gallery test soak setup page lint lint-python lint-page test-page screenshots clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo       train the demo runs and open them in TensorBoard"
	@echo "make demo-runs  train the demo runs only"
	@echo "make test       everything that CI runs"
	@echo "make gallery    one fault a training, and healthy twins: the confusion matrix of the diagnosis (30 minutes)"
	@echo "make soak       long tests: kill -9 at 260 moments, 10,000,000 batches, a month, a million steps (20 minutes)"
	@echo "make page       build the page again after a change in frontend/"
	@echo "make screenshots  pictures of the tab over the demo runs, and those of the README"
	@echo "make clean      remove .venv, built files and demo runs"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "LossLens needs Python 3.10 or newer; this is $$($(PYTHON) --version). Set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 cannot make a virtual environment: install its venv module (python3-venv)"; rm -rf $(VENV); exit 1; }

$(READY): $(VENV)/bin/python pyproject.toml setup.py constraints.txt tb_losslens/record/native.c tb_losslens/record/digests.c
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[torch,demo,test]'
	@touch $@

$(PAGE): $(READY) $(wildcard frontend/src/*) $(wildcard frontend/src/*/*) $(wildcard frontend/*.json) $(wildcard frontend/*.mjs)
	$(PY) -c 'import setup; setup.build_page()'
	@touch $@

# protoc goes to a place of its own: the version that writes code for protobuf 3.20 to 7 would hold our protobuf back
$(PROTOC): $(READY)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --target .tools/protoc grpcio-tools==1.62.3
	@touch $@

setup: $(READY) $(PAGE)

page: $(PAGE)

demo-runs: setup
	$(PY) -m demo.run --logdir $(RUNS)

demo: demo-runs
	@$(PY) -m demo.serve --logdir $(RUNS) --port $(PORT)

gallery: setup
	$(PY) -m demo.gallery --out demo/gallery_runs

lint: lint-python lint-page

lint-python: setup
	$(PY) -m ruff check .
	$(PY) -m mypy

lint-page: setup
	$(PY) frontend/npm.py run check
	$(PY) frontend/npm.py run lint

test-page: setup
	$(PY) frontend/npm.py test

# one thread each: as many trainings run side by side as there are cores.
# The order of the files is that of tests/conftest.py.
# Tests start a hundred processes: none should compile the package anew.
test: setup $(PROTOC)
	@$(MAKE) --jobs=2 lint test-page
	@$(PY) -m tests.browser
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(PY) -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder

soak: setup
	$(PY) -m pytest -s tests/soak
	$(PY) -m benchmarks.long --steps 1000000
	$(PY) -m benchmarks.load --steps 2592000

screenshots: demo-runs
	$(PY) -m tests.e2e.pictures --runs $(RUNS) --readme

clean:
	rm -rf $(VENV) .tools build dist *.egg-info frontend/node_modules tb_losslens/plugin/static demo/runs
