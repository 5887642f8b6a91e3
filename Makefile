# Everything starts here: `make demo`, `make test`, `make lint`, `make help`.
# A fresh clone needs Python 3.11 or 3.12 with pip and venv, and make.

VENV := .venv
BIN := $(VENV)/bin
# The first of these that runs and has the right version; `make PYTHON=...` overrides.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	2>/dev/null && echo $$p && break; done)
PINS := setup.cfg pyproject.toml constraints.txt
DEMO := outputs/demo
ASTRONAUT := $(DEMO)/astronaut.png
FPS ?= 16

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.run ## make .venv and install what reconstructing and animating need

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or 3.12 found; say make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch and torchvision must match, so one command installs both (with everything else).
$(VENV)/.run: $(PINS) | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[tracking]'
	@touch $@

$(VENV)/.dev: $(PINS) | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[tracking,smplx,build-body,dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run ## reconstruct and animate a real portrait into outputs/demo/
	@mkdir -p $(DEMO)
	@$(BIN)/python -c "from skimage import data, io; io.imsave('$(ASTRONAUT)', data.astronaut())"
	$(BIN)/python tools/reconstruct.py $(ASTRONAUT) --out $(DEMO)/astronaut
	$(BIN)/python tools/animate.py $(DEMO)/astronaut/avatar.safetensors \
		--motion wave --fps $(FPS) --out $(DEMO)/astronaut/wave.mp4
	$(BIN)/python tools/animate.py $(DEMO)/astronaut/avatar.safetensors \
		--motion talk --fps $(FPS) --view head --out $(DEMO)/astronaut/talk.mp4
	@echo "The demo is in $(DEMO)/astronaut/: look at overlay.png, reconstruction.png,"
	@echo "turntable.mp4, wave.mp4 and talk.mp4; report.json has the figures."

test: $(VENV)/.dev ## run all tests, two at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## bring all files to the project's style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## remove .venv and what the tools made
	rm -rf $(VENV) outputs build *.egg-info framework/*.egg-info
