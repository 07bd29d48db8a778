# Every job of this project, in one place. Each makes what it needs: Python 3.11, pip, make and git are enough.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SEED ?= $(shell date +%s)
unexport PYTHONDONTWRITEBYTECODE  # a module compiled once serves every process that the tests begin

.PHONY: help demo gateway test options crash check screenshots bench clean
help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

$(STAMP): pyproject.toml src/hfmedia/_version.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[sandbox,server]' --group dev
	@touch $@

demo: $(STAMP)  ## the main job in the sandbox: a prompt becomes a picture, with no account
	@$(BIN)/hfmedia "a red fox in the snow" --sandbox -o demo/

gateway: $(STAMP)  ## OpenAI's images and videos API in front of the sandbox, at http://127.0.0.1:8000/v1
	$(BIN)/hfmedia serve --sandbox

NPM := $(shell command -v npm 2>/dev/null)
NODE := $(if $(NPM),$(addsuffix /node/node_modules/.package-lock.json,tests/server tests/studio))
tests/server/node/node_modules/.package-lock.json: tests/server/node/package.json tests/server/node/package-lock.json
	npm ci --prefix tests/server/node --no-audit --no-fund --silent
	@touch $@
tests/studio/node/node_modules/.package-lock.json: tests/studio/node/package.json tests/studio/node/package-lock.json
	npm ci --prefix tests/studio/node --no-audit --no-fund --silent
	@touch $@

test: $(STAMP) $(NODE)  ## every test; three at once, since many of them wait
	$(BIN)/python -m pytest -n 3 --dist worksteal

options: $(STAMP)  ## copy the table of parameters into the library's typed keyword options
	$(BIN)/python scripts/update_options.py

crash: $(STAMP)  ## kill it many hundreds of times, at every step of a job's life and at random moments
	HFMEDIA_CRASH_ROUNDS=150 HFMEDIA_CRASH_SEED=$(SEED) $(BIN)/python -m pytest -n 2 tests/crash

check: $(STAMP)  ## format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy & mypy=$$!; $(BIN)/pyright && wait $$mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

screenshots: $(STAMP)  ## the pictures of the studio in docs/screenshots, anew
	$(BIN)/python -m tests.studio.screenshots

bench: $(STAMP)  ## what the main paths cost, beside the peers and the bare floor; under ten minutes
	$(BIN)/python -m bench

clean:  ## forget what was made here
	rm -rf .venv dist build demo .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/*/node/node_modules
