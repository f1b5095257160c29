# make demo: the whole story on synthesised speech; make test: the tests.
# Each target sets up what it needs in .venv first: Python and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BROWSER_STAMP := $(VENV)/.installed-browser
STARTER := packages/undertone-starter
OPEN := packages/undertone-starter-open
ENCODERS := packages/undertone-encoders
EXTRAS := dev,docs,align,asr,demo,report,vad,serve,otel,parquet,search,scale,export,smile,frames
QUICK ?=
RUNS ?= runs

export HF_HUB_OFFLINE ?= 1

.PHONY: setup demo test test-slow test-browser coverage screenshots system-deps check bench dist serve docs site clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt $(STARTER)/pyproject.toml $(OPEN)/pyproject.toml $(ENCODERS)/pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[$(EXTRAS)]" -e $(STARTER) -e $(OPEN) -e $(ENCODERS)
	@touch $@

$(BROWSER_STAMP): $(STAMP)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[browser]"
	@touch $@

# the whole story, offline: corpus, features, cross-validation of every system, report, a prediction
demo: $(STAMP)
	$(BIN)/undertone demo $(if $(QUICK),--quick)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(STAMP)
	$(BIN)/python -m pytest -rs

test-slow: $(STAMP)
	$(BIN)/python -m pytest -rs -m slow

test-browser: $(BROWSER_STAMP)
	UNDERTONE_REQUIRE_BROWSER=1 $(BIN)/python -m pytest -rs -m browser

# pictures of the page in every state, in screenshots/ (STATES="long words": only these)
screenshots: $(BROWSER_STAMP)
	$(BIN)/python docs/screenshots.py $(STATES)

# how many lines of the package the tests run, those in spawned processes counted; fails below 92 %
coverage: $(STAMP)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -rs
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# the system packages that only tests need: Chromium for the page, ffmpeg for exotic formats, strace to see that
# nothing phones out (Debian, as root)
system-deps:
	apt-get update
	apt-get install -y --no-install-recommends chromium ffmpeg strace

bench: $(STAMP)
	@for b in benchmarks/[a-z]*.py; do $(BIN)/python $$b $(if $(QUICK),--quick) || exit 1; done

# wheels and sdists of undertone and of the weights, in dist/
dist: $(STAMP)
	@rm -rf dist
	@for place in . $(ENCODERS) $(STARTER) $(OPEN); do $(BIN)/python -m build --no-isolation --outdir dist $$place || exit 1; done

serve: $(STAMP)
	$(BIN)/undertone serve

# rewrite what docs/reference says of the command line from the command line itself
docs: $(STAMP)
	$(BIN)/python docs/write_reference.py

# the site, in site/: open site/index.html; a page left out or a broken link ends it (FAST=1: notebooks without outputs)
site: $(STAMP)
	$(if $(FAST),,$(BIN)/python docs/run_notebooks.py build/notebooks)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

clean:
	rm -rf $(VENV) build dist site .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
