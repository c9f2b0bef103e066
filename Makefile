# Everything runs in .venv, which `make install` makes. BOOTSTRAP is the Python that it is made with.
BOOTSTRAP ?= $(shell command -v python3.11 || command -v python3)
PYTHON := .venv/bin/python
PACKAGES := tools envs critics distill eval
STAMP := .venv/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test slow lint tiny bench-gpu clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with hintsight and its development tools in it; quick when nothing changed

# torch comes first and alone: left to itself, pip takes the newest one and gigabytes of CUDA with it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(PYTHON) || $(BOOTSTRAP) -m venv .venv
	$(PYTHON) -m pip install --quiet "$$(grep '^torch==' constraints.txt)" --constraint constraints.txt
	$(PYTHON) -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

demo: install ## the whole loop on the tiny model, from rollouts to figures, on a CPU; replaces runs/demo
	rm -rf runs/demo
	$(PYTHON) -m distill --out runs/demo

test: install ## run the tests; `make test ARGS="-k store"` hands options to pytest
	$(PYTHON) -m pytest $(ARGS)

slow: install ## run the tests that take minutes
	$(PYTHON) -m pytest -m slow $(ARGS)

lint: install ## ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict $(PACKAGES)

tiny: install ## train the tiny model that is shipped; half an hour or more on two cores
	$(PYTHON) -m distill.tiny train

# Needs torch and transformers only: `make bench-gpu PYTHON=python ARGS="--attention flash_attention_2"` on any GPU box.
bench-gpu: ## what corrections cost beside a plain update, on one GPU of 80 GiB or more
	$(PYTHON) -m distill.bench --model random:600M --tokens 20480 --errors 8 $(ARGS)
	$(PYTHON) -m distill.bench --model random:600M --tokens 4096,20480 --errors 1,3 $(ARGS)

clean: ## remove .venv and caches; runs/ stays
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
