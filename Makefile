# All tasks of this project. Each target creates what it needs; Python 3.11, pip, make and git are enough.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SEED ?= $(shell date +%s)
unexport PYTHONDONTWRITEBYTECODE  # bytecode compiled once serves every process that the tests start

.PHONY: help demo gateway test test-fast options crash check screenshots bench clean
help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 13

$(STAMP): pyproject.toml src/hfmedia/_version.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[sandbox,server]' --group dev
	@touch $@

demo: $(STAMP)  ## generate an image in the sandbox, without an account
	@$(BIN)/hfmedia "a red fox in the snow" --sandbox -o demo/

gateway: $(STAMP)  ## serve OpenAI's images and videos API on the sandbox, at http://127.0.0.1:8000/v1
	$(BIN)/hfmedia serve --sandbox

NPM := $(shell command -v npm 2>/dev/null)
NODE := $(if $(NPM),$(addsuffix /node/node_modules/.package-lock.json,tests/server tests/studio))
tests/server/node/node_modules/.package-lock.json: tests/server/node/package.json tests/server/node/package-lock.json
	npm ci --prefix tests/server/node --no-audit --no-fund --silent
	@touch $@
tests/studio/node/node_modules/.package-lock.json: tests/studio/node/package.json tests/studio/node/package-lock.json
	npm ci --prefix tests/studio/node --no-audit --no-fund --silent
	@touch $@

# Three processes, since many tests wait for a socket or a process.
test: $(STAMP) $(NODE)  ## run all tests
	$(BIN)/python -m pytest -n 3 --dist worksteal

test-fast: $(STAMP)  ## run the fast tests: no browser, no crash rounds
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not browser and not crash and not slow"

options: $(STAMP)  ## update the typed keyword options in options.py from the table of parameters
	$(BIN)/python scripts/update_options.py

crash: $(STAMP)  ## run the crash tests with 150 rounds instead of a few
	HFMEDIA_CRASH_ROUNDS=150 HFMEDIA_CRASH_SEED=$(SEED) $(BIN)/python -m pytest -n 2 tests/crash

NOT_SPELLED := ^docs/performance/|^tests/data/|package-lock\.json$$|\.(gz|jpg|mp4|png|svg|webp)$$
# deliberate misspellings in tests, and rare words
RARE_WORDS := caf,firs,fro,heigth,modles,ouput,whats
check: $(STAMP)  ## check format, spelling, lint, types and architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	git ls-files -z | grep -zvE '$(NOT_SPELLED)' | xargs -0 $(BIN)/codespell --ignore-words-list=$(RARE_WORDS)
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/mypy & mypy=$$!; $(BIN)/pyright && wait $$mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

screenshots: $(STAMP)  ## regenerate docs/screenshots
	$(BIN)/python -m tests.studio.screenshots

bench: $(STAMP)  ## measure performance and compare it with other clients; takes up to ten minutes
	$(BIN)/python -m bench

clean:  ## remove the environment, caches and build products
	rm -rf .venv dist build demo .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/*/node/node_modules
