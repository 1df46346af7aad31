# Two commands do everything on a machine that has Python 3.11 or newer, git and make:
#   make demo    sets up .venv, runs the embedded demo to its report
#   make test    sets up .venv, runs the whole test suite
PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
STUDY ?= haxby

.DEFAULT_GOAL := help
.PHONY: help env demo study share test test-slurm test-envs bench bench-bootstrap bench-transfer calibrate calibrate-integration lint format toys lock clean

help: ## Show what can be made
	@grep -hE '^[a-z_-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

env: $(READY) ## Set up .venv from the locked versions

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "braid needs Python 3.11 or newer; set PYTHON=...")'
	@echo "Setting up $(VENV) from requirements.lock (several GB, some minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## Run the embedded demo to its report
	@echo "Running the demo (config/config.yaml) on $(CORES) cores"
	@$(BIN)/snakemake --cores $(CORES) --quiet reason
	@echo "Report: results/demo/report.html"

study: $(READY) ## Run a study: make study STUDY=haxby
	@$(BIN)/snakemake --cores $(CORES) --quiet reason --configfile config/studies/$(STUDY).yaml
	@echo "Report: results/$(STUDY)/report.html"

share: STUDY = demo
share: $(READY) ## Pack a finished study into one archive: make share STUDY=haxby
	@$(BIN)/braid share --configfile $(if $(filter demo,$(STUDY)),config/config.yaml,config/studies/$(STUDY).yaml)

test: $(READY) ## Run the whole test suite
	@$(BIN)/python -m pytest

test-slurm: $(READY) ## Start a Slurm of one node on this machine and run the workflow on it
	@tests/slurm/install.sh
	@BRAID_SLURM=1 $(BIN)/python -m pytest -n 0 tests/slurm $(SLURM_TESTS)

test-envs: $(READY) ## Install each rule's environment and run its scripts' imports in it
	@BRAID_INSTALL=1 $(BIN)/python -m pytest -n 0 tests/test_environments.py tests/sharing

bench: $(READY) ## Time and memory of the ridge solver beside himalaya's, speed of feature extraction
	@$(BIN)/python tests/bench/ridge.py
	@$(BIN)/python tests/bench/extraction.py

bench-bootstrap: $(READY) ## Time and memory of a tenth of one event bootstrap of study 1 (11 minutes)
	@$(BIN)/python tests/bench/bootstrap.py

bench-transfer: $(READY) ## Memory of a tenth of a whole-brain transfer beside its plan (20 minutes)
	@$(BIN)/python tests/bench/transfer.py

calibrate: $(READY) ## Measure error rates and coverage of the statistics (10 minutes)
	@$(BIN)/python tests/calibrate/calibrate.py

calibrate-integration: $(READY) ## Measure what study 1 finds of planted integration sites (half an hour)
	@$(BIN)/python tests/calibrate_integration/calibrate_integration.py

lint: $(READY) ## Check style, types and the workflow
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/snakefmt --check Snakefile workflow/rules
	@$(BIN)/snakemake --lint

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/snakefmt Snakefile workflow/rules

toys: $(READY) ## Train the demo's toy networks again and put them into resources/toys
	@$(BIN)/snakemake --cores $(CORES) $(foreach toy,toy-vit toy-bert toy-clip toy-vilt,results/toys/$(toy))
	@cp -r results/toys/. resources/toys/

lock: $(READY) ## Resolve the versions anew: requirements.lock and envs/*.yaml
	@$(BIN)/python envs/lock.py

clean: ## Remove what runs have made (not .venv)
	@rm -rf results .snakemake .pytest_cache .mypy_cache .ruff_cache
