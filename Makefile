# What a reviewer runs. Every target works in a fresh clone: it makes its own environment in .venv from PyPI.

PYTHON ?=
CORPORA ?= $(wildcard ../shared/corpus ../shared/corpus-mta)
BIN := .venv/bin
DEMO := .venv/.demo-installed
DEV := .venv/.dev-installed

.NOTPARALLEL:
.PHONY: help check test accuracy bench demo readme clean

help:
	@echo "make test      the tests; as root on Debian it first installs the servers that they start"
	@echo "make check     formatting, lint, types"
	@echo "make demo      preview, clean and an alert on an embedded server with sample mail; no account, no root"
	@echo "make accuracy  how well bounces are recognised, on the tests' own mail and on CORPORA=\"directory …\""
	@echo "make bench     what a first clean-up costs beside other programs, on a throw-away Dovecot; BENCH=\"arguments\""
	@echo "make readme    write the README's --help and preview blocks anew"
	@echo "make clean     remove the environment and the caches"

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(DEV)
	@sh scripts/servers.sh
	$(BIN)/python -m pytest

accuracy: $(DEV)
	$(BIN)/python tests/accuracy.py $(CORPORA)

bench: $(DEV)
	@sh scripts/servers.sh
	$(BIN)/python -m benchmarks.clean $(BENCH)

demo: $(DEMO)
	@$(BIN)/python -m demo

readme: $(DEV)
	$(BIN)/python -m scripts.readme --write

$(DEMO): pyproject.toml scripts/venv.sh
	@PYTHON="$(PYTHON)" sh scripts/venv.sh -e '.[demo]'
	@touch $@

$(DEV): $(DEMO)
	@PYTHON="$(PYTHON)" sh scripts/venv.sh -e '.[demo]' --group dev
	@touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find bouncefiler tests demo scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
