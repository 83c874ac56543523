# Every command sets itself up: a fresh clone needs nothing but Python 3.11 to 3.13.
PYTHON ?= python3
ONCE ?=
VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test soak check format bench mutants lock pictures

help: ## What there is to run
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: ## Make .venv, install the locked dependencies and the libraries Qt needs
	@PYTHON="$(PYTHON)" installer/linux/install.sh

demo: install ## Start the app with the simulator and send it three requests (ONCE=1: then stop)
	@$(VENV)/mortdecai-gateway demo $(if $(ONCE),--once)

test: install check ## Everything CI checks
	@QT_QPA_PLATFORM=offscreen $(VENV)/python -m pytest

soak: install ## What make test tries in part, whole: every bit, every seed (takes its time)
	@SOAK=1 QT_QPA_PLATFORM=offscreen $(VENV)/python -m pytest -m soak

check: install ## Style, types and the house's arrows
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports

format: install ## Bring the code into the house's shape
	@$(VENV)/ruff check --fix .
	@$(VENV)/ruff format .

bench: install ## Print the design's figures as ratios of one run
	@$(VENV)/python -m tests.bench

mutants: install ## How many single-line mutants the rooms' tests kill (MUTANTS a room, SEED, JOBS)
	@$(VENV)/python -m tests.mutants

lock: ## Resolve the dependencies anew (needs uv)
	@uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev --extra amd --extra postgres \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		pyproject.toml --output-file requirements.lock

pictures: install ## Take the README's pictures of the window (needs xvfb openbox tint2 xdotool x11-utils imagemagick)
	@$(VENV)/python -m tests.real.picture
