# What a reviewer runs. Every target works in a fresh clone: it makes its own environment in .venv from PyPI.

PYTHON ?=
EXECUTIONS ?= 20000
ROUNDS ?= 400
MINUTES ?= 5
SEED ?=
CORPORA ?= $(wildcard ../shared/corpus ../shared/corpus-mta)
BIN := .venv/bin
DEMO := .venv/.demo-installed
DEV := .venv/.dev-installed

.NOTPARALLEL:
.PHONY: help check test test-servers chaos soak alarms accuracy speed bench fuzz demo readme clean

help:
	@echo "make test      the tests; as root on Debian it first installs the servers that they start"
	@echo "make test-servers  the same contract and job on Courier and Cyrus; as root on Debian, in .servers"
	@echo "make chaos     the long proof that no fault harms a message: ROUNDS=400 SEED=number; servers as for the tests"
	@echo "make soak      the service for MINUTES=5, while mail and faults keep coming: nothing lost, memory flat"
	@echo "make check     formatting, lint, types"
	@echo "make demo      preview, clean and an alert on an embedded server with sample mail; no account, no root"
	@echo "make accuracy  how well bounces are recognised, on the tests' own mail and on CORPORA=\"directory …\""
	@echo "make bench     what a first clean-up costs beside other programs, on a throw-away Dovecot; BENCH=\"arguments\""
	@echo "make alarms    how often the watch cries wolf, and how soon it sees a wave: five minutes; ALARMS=\"arguments\""
	@echo "make speed     how fast mails are judged, beside flufl.bounce, on the tests' own or on CORPORA"
	@echo "make fuzz      recognition on EXECUTIONS made-up mails, led by coverage (atheris; Linux)"
	@echo "make readme    write the README's --help and preview blocks anew"
	@echo "make clean     remove the environment and the caches"

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(DEV)
	@sh scripts/servers.sh
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-servers: $(DEV)
	@sh scripts/roots.sh .servers
	$(BIN)/python -m pytest -m servers

chaos: $(DEV)
	@sh scripts/servers.sh
	$(BIN)/python -m tests.chaos $(ROUNDS) $(SEED)

soak: $(DEV)
	@sh scripts/servers.sh
	$(BIN)/python -m tests.chaos.soak $(MINUTES) $(SEED)

accuracy: $(DEV)
	$(BIN)/python tests/accuracy.py $(CORPORA)

bench: $(DEV)
	@sh scripts/servers.sh imapfilter
	$(BIN)/python -m benchmarks.clean $(BENCH)

alarms: $(DEV)
	$(BIN)/python benchmarks/alarms.py $(ALARMS)

speed: $(DEV)
	@PYTHON="$(PYTHON)" sh scripts/venv.sh --group speed
	$(BIN)/python benchmarks/recognition.py $(CORPORA)
	$(BIN)/python benchmarks/recognition.py --hostile

fuzz: $(DEV)
	@PYTHON="$(PYTHON)" sh scripts/venv.sh --group fuzz
	@mkdir -p .fuzz/found .fuzz/seeds && for mail in tests/mail/*/*.eml; do \
		{ printf '\001'; cat "$$mail"; } > ".fuzz/seeds/$$(echo "$$mail" | tr / -)"; done
	$(BIN)/python fuzz/recognition.py -runs=$(EXECUTIONS) -max_len=65536 -timeout=5 -artifact_prefix=.fuzz/ .fuzz/found .fuzz/seeds

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
	rm -rf .venv .fuzz .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find bouncefiler tests demo scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
