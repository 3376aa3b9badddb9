# The commands of langtailor. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= 2
CONFIG ?= config/config.yaml
# The CPU build of torch that the lock names; asked only where pip's own index does not have it.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: help setup demo estimate test test-slow test-faults test-slurm bench lint format schema rulegraph lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## make .venv from requirements/dev.txt

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $$(grep '^torch==' requirements/dev.txt | cut -d ' ' -f 1) \
		|| $(BIN)/pip install --quiet --index-url $(TORCH_INDEX) $$(grep '^torch==' requirements/dev.txt | cut -d ' ' -f 1)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

demo: setup ## run the whole workflow on the embedded sample (offline, CPU)
	$(BIN)/snakemake --cores $(CORES) all
	@echo "report:  results/demo/report.html"
	@echo "student: results/demo/student/tailored  (SentenceTransformer opens it)"

estimate: setup ## estimate how long the teacher's vectors of CONFIG take (ESTIMATE="--help" lists the options)
	@PYTHONPATH=workflow $(BIN)/python -m langtailor.planning.estimate --configfile $(CONFIG) $(ESTIMATE)

test: setup ## run the fast tests, a whole small run among them
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow and not slurm and not faults" -n $(CORES) --dist loadfile

test-slow: setup ## run the slower tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "slow and not slurm and not faults"

test-faults: setup ## test that faults of every kind leave the small run's bytes as they are (root for the full disk)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m faults -n $(CORES) --dist loadfile tests/faults

test-slurm: setup ## run the small workflow through a real Slurm (root; Debian's slurm-wlm and munge)
	which slurmctld slurmd munged > /dev/null || (apt-get update -qq && apt-get install -y -qq slurm-wlm munge)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slurm tests/slurm

# Peers that the lock does not have. Without them their rows say so.
PEERS := benchmarks/peers
SIZE ?= default

$(PEERS): | setup
	-$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ transformer-cloner==0.2.10 distil-trainer==0.1.27

bench: setup $(PEERS) ## run all benchmarks beside their peers: make bench DATA=folder [SIZE=small|default|full]
	$(BIN)/python benchmarks/bench.py $(or $(DATA),$(error DATA names the folder with tatoeba/ and stsb/)) --size $(SIZE) \
		--peers $(PEERS) --out benchmarks/results/performance.json --docs docs/performance.md

lint: setup ## ruff, mypy, snakefmt and snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: setup ## format Python and Snakemake files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

schema: setup ## write config/schema.yaml from the settings' models
	cd workflow && ../$(BIN)/python -m langtailor.config.schema ../config/schema.yaml

rulegraph: setup ## draw the rule graph of README.md
	$(BIN)/snakemake --rulegraph | $(BIN)/python docs/rulegraph.py README.md

lock: setup ## refresh requirements/*.txt and envs/*.yaml
	$(BIN)/python requirements/lock.py

clean: ## remove the environment and the tools' caches; results/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
