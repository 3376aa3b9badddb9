# The commands of langtailor. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PUBLISHED := .venv-published
DOCS := .venv-docs
CORES ?= 2
CONFIG ?= config/config.yaml
# The CPU build of torch that the lock names; asked only where pip's own index does not have it.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: help setup demo estimate test test-slow test-faults test-slurm test-examples test-recipe test-versions bench gpu-check lint format schema rulegraph docs lock clean

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

# transformers.js and axe-core, with which tests open exports and the report. Without npm, or without its registry, they are skipped.
NODE := tests/node/node_modules/.package-lock.json

$(NODE): tests/node/package-lock.json
	-npm ci --prefix tests/node --ignore-scripts --no-audit --no-fund --silent

test: setup $(NODE) ## run the fast tests, including a whole small run
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow and not slurm and not faults and not recipe and not versions and not examples" -n $(CORES) --dist loadfile

test-slow: setup ## run the slower tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "slow and not slurm and not faults and not recipe and not versions and not examples"

test-faults: setup ## test that faults of every kind leave the small run's bytes unchanged (root for the full disk)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m faults -n $(CORES) --dist loadfile tests/faults

test-slurm: setup ## run the small workflow through a real Slurm (root; Debian's slurm-wlm and munge)
	which slurmctld slurmd munged > /dev/null || (apt-get update -qq && apt-get install -y -qq slurm-wlm munge)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slurm tests/slurm

# What users install: the lock without anything that only the development needs.
$(PUBLISHED)/.ready: requirements/cpu.txt
	$(PYTHON) -m venv $(PUBLISHED)
	$(PUBLISHED)/bin/pip install --quiet --disable-pip-version-check $$(grep '^torch==' $< | cut -d + -f 1) \
		|| $(PUBLISHED)/bin/pip install --quiet --index-url $(TORCH_INDEX) $$(grep '^torch==' $<)
	sed 's/^\(torch==[^+]*\).*/\1/' $< | $(PUBLISHED)/bin/pip install --quiet --disable-pip-version-check -r /dev/stdin
	@touch $@

test-recipe: setup $(PUBLISHED)/.ready ## run the paper's recipe, small, from a loopback Hub in an environment with only requirements/cpu.txt
	LANGTAILOR_PYTHON=$(abspath $(PUBLISHED))/bin/python $(BIN)/pytest -m recipe tests/recipe

# Other versions of the libraries: the least that pyproject.toml allows, the newest that it allows, and two old ones that
# users still open models with.
VERSIONS := $(addprefix .venv-,oldest newest readers)
PACKAGES_oldest = $$(sed -n 's/.*"\(\(sentence-\)\?transformers\)>=\([0-9.]*\).*/\1==\3/p' pyproject.toml)
PACKAGES_newest = --upgrade $$(sed -n 's/.*"\(\(sentence-\)\?transformers\)\(>=[^"]*\).*/\1\3/p' pyproject.toml)
PACKAGES_readers = transformers==4.48.3 sentence-transformers==3.4.1 'huggingface_hub<1'

.venv-readers/.ready: requirements/cpu.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check $$(grep '^torch==' $< | cut -d + -f 1) $(PACKAGES_readers)
	@touch $@

.venv-oldest/.ready .venv-newest/.ready: requirements/cpu.txt pyproject.toml
	$(PYTHON) -m venv $(@D)
	sed 's/^\(torch==[^+]*\).*/\1/' $< | $(@D)/bin/pip install --quiet --disable-pip-version-check -r /dev/stdin
	$(@D)/bin/pip install --quiet --disable-pip-version-check $(PACKAGES_$(patsubst .venv-%,%,$(@D)))
	@touch $@

test-versions: setup ## run the small run under the oldest and newest libraries allowed; open the student under even older ones
	-$(MAKE) --keep-going $(addsuffix /.ready,$(VERSIONS))
	$(BIN)/pytest -m versions -rs tests/versions

test-examples: setup ## run each example, and the workflow as a module from a repository
	OMP_NUM_THREADS=1 $(BIN)/pytest -m examples -n $(CORES) tests/workflow

# Peers that the lock does not have. Without them their rows say so.
PEERS := benchmarks/peers
SIZE ?= default

$(PEERS): | setup
	-$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ transformer-cloner==0.2.10 distil-trainer==0.1.27

bench: setup $(PEERS) ## run all benchmarks against their peers: make bench DATA=folder [SIZE=small|default|full]
	$(BIN)/python benchmarks/bench.py $(or $(DATA),$(error DATA names the folder with tatoeba/ and stsb/)) --size $(SIZE) \
		--peers $(PEERS) --out benchmarks/results/performance.json --docs docs/performance.md

# What a GPU does with the paper's model, random weights in it; 580,000 passages in hours and money.
DEVICE ?= cuda

gpu-check: setup ## run vectors and training at the paper's size: make gpu-check [DEVICE=cpu] [SIZE=small]
	PYTHONPATH=workflow $(BIN)/python benchmarks/gpu_check.py --device $(DEVICE) --size $(SIZE)

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

schema: setup ## write config/schema.yaml and config/README.md from the settings' models
	PYTHONPATH=workflow $(BIN)/python -m langtailor.planning.configuration config

rulegraph: setup ## draw the rule graph of README.md
	$(BIN)/snakemake --rulegraph | $(BIN)/python docs/rulegraph.py README.md

$(DOCS)/.ready: requirements/docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

docs: $(DOCS)/.ready ## build the documentation site; a broken link or any other warning is an error
	rm -rf build/docs
	$(DOCS)/bin/sphinx-build --quiet --fail-on-warning --fresh-env --jobs auto -c docs/site -d build/doctrees . build/docs
	@echo "site: build/docs/index.html"

lock: setup ## refresh requirements/*.txt and envs/*.yaml
	$(BIN)/python requirements/lock.py

clean: ## remove the environments and the tools' caches; results/ stays
	rm -rf $(VENV) $(PUBLISHED) $(DOCS) $(VERSIONS) build docs/library $(dir $(NODE)) .mypy_cache .pytest_cache .ruff_cache .hypothesis
