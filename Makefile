# On first use a target installs what it needs into .venv, and nothing outside it.
# A pipe fails if any of its commands fails.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
WORKERS ?= 2
# Tests to repeat as on a processor without AVX-512, and with kernels compiled for a generic processor.
TRAINING := tests/deepexp/test_train.py tests/deepexp/test_models.py tests/deepexp/pruning/test_scores.py
KERNELS := tests/singleneuron/flows/test_line.py tests/singleneuron/formulas/test_closed_forms.py
# One numba and one torch thread per test worker: the workers themselves run in parallel.
PYTEST := NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo docs figures gallery study verify report test test-slow mutants deep deep-smoke bench bench-deep check \
        dist gpu-check format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.base: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing signflow into .venv, once, about a minute"
	@$(PIP) --editable .
	@touch $@

.venv/.dev: .venv/.base
	@echo "installing the tools of development into .venv, once, under a minute"
	@$(PIP) --editable ".[dev]"
	@touch $@

.venv/.bench: .venv/.base
	@echo "installing other solvers into .venv, once, about a minute"
	@$(PIP) --editable ".[bench]"
	@touch $@

.venv/.deep: .venv/.base
	@echo "installing torch into .venv, once, a few minutes"
	@$(PIP) --editable ".[deep]"
	@touch $@

.venv/.cluster: .venv/.base
	@echo "installing Dask and submitit into .venv, once, under a minute"
	@$(PIP) --editable ".[cluster]"
	@touch $@

figures: .venv/.base ## recompute and redraw every theorem figure: build/figures
	@$(BIN)/singleneuron preset --figures --overwrite | $(BIN)/figures draw -

demo: .venv/.base ## run the tutorial and draw its pictures (a few minutes): build/tutorial
	@$(BIN)/python -m singleneuron.tutorial --overwrite
	@$(BIN)/figures draw build/tutorial/{fig1b,fig1c,noise_map}.nc --out build/tutorial

study: .venv/.base ## measure and draw the success rates that no formula gives (under 30 minutes on 2 cores)
	@$(BIN)/singleneuron preset --studies | $(BIN)/figures draw -

gallery: figures study ## redraw the pictures of the README and the documentation
	@$(BIN)/figures draw all --out build/gallery
	@$(BIN)/figures draw studies --out build/gallery
	cp build/gallery/*.png figures/gallery/

verify: .venv/.base ## verify every theorem [VERBOSE=1]; exit code 0 if none is refuted or open, else 2
	@$(BIN)/singleneuron verify $(if $(VERBOSE),--verbose)

# Refuted statements belong in the report as well; fail only if no new verdicts were written.
build/results/verdicts.json: $(shell find singleneuron signflow -name '*.py') | .venv/.base
	$(BIN)/singleneuron verify || { for source in $?; do test $@ -nt $$source || exit 2; done; }

report: figures build/results/verdicts.json ## write verdicts and figures as one page: build/report/index.html
	$(BIN)/singleneuron preset explorer --overwrite
	$(BIN)/figures report

.venv/.docs: .venv/.deep
	@echo "installing Sphinx into .venv, once, under a minute"
	@$(PIP) --editable ".[docs]"
	@touch $@

.venv/.browser: .venv/.dev
	@echo "installing playwright into .venv, once; its tests also need Chromium, such as Debian's package chromium"
	@$(PIP) --editable ".[browser]"
	@touch $@

docs: .venv/.docs ## build the documentation, offline: build/docs/index.html
	@echo "building the documentation, under a minute"
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "read it: build/docs/index.html"

test: .venv/.dev .venv/.deep ## run the tests (under 5 minutes on 2 cores)
	$(BIN)/python -m singleneuron.flows
	$(PYTEST) -m "not slow"
	ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) -m "not slow" $(TRAINING)
	NUMBA_CPU_NAME=generic $(PYTEST) -m "not slow" $(KERNELS)

test-slow: .venv/.dev .venv/.deep .venv/.cluster .venv/.browser ## run the slow tests
	$(BIN)/python -m singleneuron.flows
	$(PYTEST) -m slow

# `deepexp plan --make` writes a makefile, so that the runs share the job server of `make -jN deep`.
# Without PROFILE, the smallest one is trained; training for more than an hour needs YES=1.
deep: .venv/.deep ## run a whole experiment, including its figure and verdicts: RECIPE= [PROFILE=smoke|short|full YES=1 SEEDS= PANELS= STACK=1 SET=]
	@test -n "$(RECIPE)" || { echo "make deep needs RECIPE=NAME, with NAME one of:" >&2; $(BIN)/deepexp recipes >&2; exit 2; }
	@$(BIN)/deepexp plan $(RECIPE) $(if $(PROFILE),--profile $(PROFILE)) $(if $(YES),,--most-hours 1) $(if $(SEEDS),--seed $(SEEDS)) $(if $(PANELS),--panel $(PANELS)) $(if $(STACK),--stack) $(if $(SET),--set $(SET)) --make
	@$(MAKE) --no-print-directory --keep-going --file build/deep/$(notdir $(RECIPE:.toml=)).mk

mutants: .venv/.dev .venv/.deep ## put known bugs into the code, one at a time: each must make a test fail
	$(BIN)/python tests/mutants.py --workers $(WORKERS)

deep-smoke: .venv/.deep ## train IMP, WR and LRR on digits, and draw accuracy against density
	@$(BIN)/deepexp run smoke --profile smoke
	@$(BIN)/deepexp reduce smoke --profile smoke
	@$(BIN)/figures draw smoke

check: .venv/.dev .venv/.deep ## check lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_typing.py

dist: .venv/.dev ## build dist/*.tar.gz and dist/*.whl, and test them in a clean environment
	$(PIP) build
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m pytest -q -m slow tests/test_distribution.py

bench: .venv/.bench ## compare trajectories/s with other solvers; update docs/benchmarks.md
	$(BIN)/python -m singleneuron.benchmark --into docs/benchmarks.md

bench-deep: .venv/.deep ## compare training images/s with plain PyTorch; update docs/benchmarks.md
	$(BIN)/deepexp bench --into docs/benchmarks.md

gpu-check: .venv/.deep ## run this first on a GPU: checks results, measures speed, writes build/gpu-check.json (six minutes)
	@$(BIN)/deepexp gpu-check

format: .venv/.dev ## format the sources in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove results, figures and the environment
	rm -rf build .venv
