# Every job of this project, in one place. Each makes what it needs: Python 3.11, pip, make and git are enough.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SEED ?= $(shell date +%s)

.PHONY: help demo test crash check bench clean
help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

$(STAMP): pyproject.toml src/hfmedia/_version.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[sandbox]' --group dev
	@touch $@

demo: $(STAMP)  ## the main job in the sandbox: a prompt becomes a picture, with no account
	@$(BIN)/hfmedia "a red fox in the snow" --sandbox -o demo/

test: $(STAMP)  ## every test
	$(BIN)/python -m pytest -n 2

crash: $(STAMP)  ## kill it many hundreds of times, at every step of a job's life and at random moments
	HFMEDIA_CRASH_ROUNDS=150 HFMEDIA_CRASH_SEED=$(SEED) $(BIN)/python -m pytest -n 2 tests/crash

check: $(STAMP)  ## format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(STAMP)  ## what the main paths cost, beside the peers and the bare floor; under ten minutes
	$(BIN)/python -m bench

clean:  ## forget what was made here
	rm -rf .venv dist build demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
