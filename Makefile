# Every target works on a fresh machine with Python 3.11 or later: what it needs is installed into .venv first, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A folder of lossless images to evaluate on.
KODAK ?= kodak
MINUTES ?= 5
# Where the documentation is built.
SITE ?= site

.DEFAULT_GOAL := help
.PHONY: help setup serve test lint docs evaluate train benchmark fuzz dashboard image clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY) ## Make .venv with the service, the command line and the test tools

serve: $(READY) ## Serve on http://127.0.0.1:8000 (settings: ZIGGURAT_..., see docs/settings.md)
	$(BIN)/ziggurat serve

# One worker more than there are cores (tests/conftest.py), but not above four: each needs up to 2 GB of memory.
test: lint ## Lint, then run every test, in up to four processes, and show the coverage
	$(BIN)/pytest --cov --numprocesses auto --maxprocesses 4

lint: $(READY) ## ruff, mypy --strict and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY) ## Build the documentation into site/
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs $(SITE)

evaluate: $(READY) ## Rate-distortion against AVIF, HEIC, JPEG XL, WebP and JPEG on KODAK=folder; measures only what is new
	$(BIN)/ziggurat evaluate $(KODAK) --output models/evaluation/results $(ARGS)

train: $(READY) ## Train, or resume training (ARGS="--help" lists the options)
	$(BIN)/python -m models.training $(ARGS)

benchmark: $(READY) ## How close rate control comes to its target on KODAK=folder, and what it costs
	$(BIN)/python -m benchmarks.rate_control $(KODAK) $(ARGS)

fuzz: $(READY) ## Feed the container, the endpoints and image reading with hostile bytes, MINUTES=5 each
	$(BIN)/python -m pip install --quiet -c constraints.txt atheris
	for target in container endpoints images; do $(BIN)/python -m tests.fuzz $$target --minutes $(MINUTES) || exit 1; done

dashboard: $(READY) ## Make the Grafana dashboard from docker/grafana/dashboard.yaml
	$(BIN)/python docker/grafana/dashboard.py

image: ## Build the container image for a CPU (see docker/check.sh for a machine without Docker)
	docker build --tag ziggurat:cpu .

clean: ## Remove .venv and every cache
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage build client/build site *.egg-info client/*.egg-info

# torch goes first and by itself: with its exact pin pip takes a plain CPU build where one is configured (find-links or an extra index),
# and every later requirement finds it installed.
$(READY): pyproject.toml client/pyproject.toml constraints.txt
	@echo 'Setting up $(VENV): a few minutes the first time'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation --editable '.[cluster,docs,evaluation,otel,test,training]' --editable ./client
	touch $@
