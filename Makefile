# `make` alone prints the targets. `make serve` and `make test` set up what they need in .venv.
#
#   make serve ARGS="--port 9000"           arguments for the service
#   make test ARGS="-k strokes -x"          arguments for pytest
#   make serve PYTHON=python3.12            another Python for .venv
#   make image IMAGE_ARGS="--build-arg …"   arguments for the image's build

VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base-installed
FULL := $(VENV)/.full-installed
NODE := node_modules/.installed
CLIENTS := .venv-clients/.installed
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
MODEL ?= mlp-128
SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))
IMAGE ?= inkling

# A docker command without its daemon is no engine. podman keeps health checks in docker's format only.
ENGINE = $(if $(shell docker info >/dev/null 2>&1 && echo yes),docker,podman)
BUILD = $(ENGINE) build $(if $(filter podman,$(ENGINE)),--format docker)
COMPOSE = $(if $(filter docker,$(ENGINE)),docker compose,podman-compose)

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help serve test torture fuzz check lint types fmt data train quantise engines sweep report models docs docs-site docs-check screenshots image sbom lock up down bench bench-peers bench-phases bench-start test-container

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

serve: $(BASE) ## Set up what is missing and run the service on http://127.0.0.1:8000
	@exec $(BIN)/python -m service $(ARGS)

test: $(FULL) $(NODE) $(CLIENTS) ## Set up what is missing and run the tests, but those of the container and the long attacks
	$(BIN)/python -m pytest -m "not container and not torture" $(ARGS)

fuzz: $(FULL) ## The tests with drawn examples, with ten times as many new ones; SEED=1 repeats a run
	@echo "make fuzz SEED=$(SEED) repeats this run."
	$(BIN)/python -m pytest -m "hypothesis and not container" --hypothesis-profile=fuzz --hypothesis-seed=$(SEED) $(ARGS)

torture: $(FULL) ## Attack the service for minutes, and print a table of figures
	$(BIN)/python -m pytest -m torture tests/security $(ARGS)

check: lint types docs-check test ## Everything that continuous integration asks for

lint: $(FULL) ## Look for mistakes and untidy form
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(FULL) $(NODE) ## Check the types, the page's too
	$(BIN)/mypy
	@if command -v npm >/dev/null; then npm run --silent types; else echo "SKIPPED: the page's types; npm is not installed."; fi

fmt: $(FULL) ## Change files into the agreed form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

data: $(FULL) ## Download, verify and summarise the data sets of the trainer
	$(BIN)/python -m training data $(ARGS)

train: $(FULL) ## Fit, verify and publish one network: make train MODEL=mlp-128
	$(BIN)/python -m training fit $(MODEL) $(ARGS)

quantise: $(FULL) ## Publish a network's next version in int8: make quantise MODEL=mlp-512x4
	$(BIN)/python -m training quantise $(MODEL) $(ARGS)

engines: $(FULL) ## Measure how long the engines of a model's versions take: make engines MODEL=ink
	$(BIN)/python -m bench.engines $(MODEL) $(ARGS)

sweep: $(FULL) ## Search for better hyperparameters: make sweep MODEL=mlp-128 ARGS=--one-at-a-time
	$(BIN)/python -m training sweep $(MODEL) $(ARGS)

report: $(FULL) ## Evaluate published networks and draw their charts: make report MODEL=mlp-128, or MODEL=all
	$(BIN)/python -m training report $(MODEL) $(ARGS)

models: $(FULL) ## Verify every published folder; rewrite models/README.md and models/SHA256SUMS
	$(BIN)/python -m training models $(ARGS)

docs: $(FULL) ## Rewrite what is generated from the code
	$(BIN)/python docs/generate.py

docs-site: $(FULL) ## Build the documentation as a site in dist/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

docs-check: docs-site ## Check what is generated from the code, and build the site
	$(BIN)/python docs/generate.py --check

screenshots: $(FULL) ## Draw the page's picture for the README, in a real browser
	$(BIN)/python -m tests.page.screenshots

image: ## Build the container image
	$(BUILD) $(IMAGE_ARGS) -t $(IMAGE) .

sbom: image ## Build the image and write its bill of materials to dist/sbom.cdx.json
	@mkdir -p dist
	$(ENGINE) run --rm --network none $(IMAGE) cat /app/sbom.cdx.json > dist/sbom.cdx.json

lock: $(FULL) ## Write requirements/*.txt, with digests, from constraints.txt
	$(BIN)/python requirements/lock.py

up: image ## Start the container in the background on http://127.0.0.1:8000
	$(COMPOSE) up -d --no-build

down: ## Stop the container
	$(COMPOSE) down

bench: $(FULL) ## Measure what a request costs, and write docs/reference/performance.md; needs wrk
	$(BIN)/python -m bench $(ARGS)

bench-peers: $(FULL) ## The same beside other model servers; makes their environments in ~/.cache/inkling-bench
	$(BIN)/python -m bench --peers $(ARGS)

bench-phases: $(FULL) ## Measure where the time of a request goes, and write it into docs/reference/performance.md; needs wrk
	$(BIN)/python -m bench.phases $(ARGS)

bench-start: $(FULL) ## Measure the service's start and its imports, and write them into docs/reference/performance.md
	$(BIN)/python -m bench.start $(ARGS)

test-container: $(FULL) ## Build the image, run it and test it
	$(BIN)/python -m pytest -m container $(ARGS)

# pyvenv.cfg stands for the environment: make deletes it when its recipe is interrupted or fails, so a
# half-made environment is made anew, which also removes the two stamps of what was installed in it.
$(VENV)/pyvenv.cfg:
	@for python in $(PYTHONS); do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || continue; \
	  found=$$python; \
	  if $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "Making $(VENV) with $$($$python --version)"; \
	    exec $$python -m venv --clear $(VENV); \
	  fi; \
	done; \
	if test -n "$$found"; then \
	  echo "$$found lacks its venv module; on Debian and Ubuntu it is the package $$($$found -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')." >&2; \
	else \
	  echo "Python 3.11, 3.12 or 3.13 is needed and none of these is one: $(PYTHONS)." >&2; \
	fi; \
	exit 1

$(BASE): $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(PIP_INSTALL) -e .
	@touch $@

$(FULL): $(BASE)
	$(PIP_INSTALL) -e '.[training,dev,docs,grpc]'
	@touch $@

# Without npm the service and its tests run all the same; the tests that need its packages say that they are skipped.
$(NODE): package.json
	@if command -v npm >/dev/null; then npm install --silent --no-save && touch $@; \
	else echo "SKIPPED: the tools that check the page; npm is not installed."; fi

# Other servers' clients need older packages than ours, so they live apart. The stamp is their environment's, which is
# made anew when what they need changes; where it cannot be made, the tests with them say that they are skipped.
$(CLIENTS): tests/clients/requirements.txt tests/clients/constraints.txt $(VENV)/pyvenv.cfg
	@echo "Making $(@D), for the tests with other servers' clients"
	@$(BIN)/python -m venv --clear $(@D) && $(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c tests/clients/constraints.txt -r tests/clients/requirements.txt && touch $@ || \
	  echo "SKIPPED: other servers' clients, which could not be installed."
