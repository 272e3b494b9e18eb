# `make` prints the targets. `make serve` and `make test` install what they need in .venv.
#
#   make serve ARGS="--port 9000"           arguments of the service
#   make test ARGS="-k strokes -x"          arguments of pytest
#   make test JOBS=4                        number of test processes, 2 by default
#   make check ROOM=service/oip             lint, types and tests of one package
#   make serve PYTHON=python3.12            Python for .venv
#   make image IMAGE_ARGS="--build-arg …"   arguments of the image build

VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base-installed
TRAIN := $(VENV)/.training-installed
FULL := $(VENV)/.full-installed
NODE := node_modules/.installed
CLIENTS := .venv-clients/.installed
GENERATORS := .venv-generators/.installed
TYPESCRIPT := clients/typescript/node_modules/.installed
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
MODEL ?= mlp-128
JOBS ?= 2
ROOM ?=
# Of a package: its folder below tests/; of a module: its test file.
ROOM_TESTS = $(or $(wildcard tests/$(ROOM) $(dir tests/$(ROOM))test_$(notdir $(ROOM))),$(error No tests for '$(ROOM)'))
SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))
IMAGE ?= inkling

# docker counts only if its daemon runs. podman keeps health checks only in docker's image format.
ENGINE = $(if $(shell docker info >/dev/null 2>&1 && echo yes),docker,podman)
BUILD = $(ENGINE) build $(if $(filter podman,$(ENGINE)),--format docker)
COMPOSE = $(if $(filter docker,$(ENGINE)),docker compose,podman-compose)

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help serve test torture fuzz check lint types fmt data train quantise engines sweep report models docs docs-site docs-check screenshots image sbom lock up down bench bench-peers bench-phases bench-start test-container

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

serve: $(BASE) ## Run the service on http://127.0.0.1:8000
	@exec $(BIN)/python -m service $(ARGS)

test: $(FULL) $(NODE) $(CLIENTS) $(GENERATORS) $(TYPESCRIPT) ## Run the tests in JOBS processes, except those of the container and the torture tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not container and not torture" $(ARGS)

fuzz: $(FULL) ## Run the Hypothesis tests with twenty times as many examples, new on each run; SEED=1 repeats a run
	@echo "make fuzz SEED=$(SEED) repeats this run."
	$(BIN)/python -m pytest -m "hypothesis and not container" --hypothesis-profile=fuzz --hypothesis-seed=$(SEED) $(ARGS)

torture: $(FULL) ## Run the long attacks on the service, and print a table of measurements
	$(BIN)/python -m pytest -m torture tests/security $(ARGS)

ifeq ($(ROOM),)
check: lint types docs-check test ## Run everything that continuous integration runs; ROOM=service/oip: one package only
else
check: $(FULL)
	$(BIN)/ruff check $(ROOM) $(ROOM_TESTS)
	$(BIN)/ruff format --check $(ROOM) $(ROOM_TESTS)
	$(BIN)/mypy $(ROOM) $(ROOM_TESTS)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not container and not torture" $(ROOM_TESTS) $(ARGS)
endif

lint: $(FULL) ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(FULL) $(NODE) ## Check the types of Python, and of the page's JavaScript
	$(BIN)/mypy
	@if command -v npm >/dev/null; then npm run --silent types; else echo "SKIPPED: types of the page; npm is not installed."; fi

fmt: $(FULL) ## Format the code and fix what can be fixed automatically
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

data: $(TRAIN) ## Download, verify and summarise the training data sets
	$(BIN)/python -m training data $(ARGS)

train: $(TRAIN) ## Train, verify and publish a model: make train MODEL=mlp-128
	$(BIN)/python -m training fit $(MODEL) $(ARGS)

quantise: $(TRAIN) ## Publish an int8 version of a model: make quantise MODEL=mlp-512x4
	$(BIN)/python -m training quantise $(MODEL) $(ARGS)

engines: $(TRAIN) ## Measure the inference time of a model's versions: make engines MODEL=ink
	$(BIN)/python -m bench.engines $(MODEL) $(ARGS)

sweep: $(TRAIN) ## Search for better hyperparameters: make sweep MODEL=mlp-128 ARGS=--one-at-a-time
	$(BIN)/python -m training sweep $(MODEL) $(ARGS)

report: $(TRAIN) ## Evaluate published models and draw their charts: make report MODEL=mlp-128, or MODEL=all
	$(BIN)/python -m training report $(MODEL) $(ARGS)

models: $(TRAIN) ## Verify all published models; rewrite models/README.md and models/SHA256SUMS
	$(BIN)/python -m training models $(ARGS)

docs: $(FULL) ## Rewrite the generated files
	$(BIN)/python docs/generate.py

docs-site: $(FULL) ## Build the documentation site in dist/site; fails on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

docs-check: docs-site ## Check that the generated files are up to date, and build the site
	$(BIN)/python docs/generate.py --check

screenshots: $(FULL) ## Take the README's screenshots of the page
	$(BIN)/python -m tests.page.screenshots

image: ## Build the container image
	$(BUILD) $(IMAGE_ARGS) -t $(IMAGE) .

sbom: image ## Write the bill of materials of the image to dist/sbom.cdx.json
	@mkdir -p dist
	$(ENGINE) run --rm --network none $(IMAGE) cat /app/sbom.cdx.json > dist/sbom.cdx.json

lock: $(FULL) ## Write requirements/*.txt, with hashes, from constraints.txt
	$(BIN)/python requirements/lock.py

up: image ## Start the container in the background on http://127.0.0.1:8000
	$(COMPOSE) up -d --no-build

down: ## Stop the container
	$(COMPOSE) down

bench: $(FULL) ## Measure throughput and latency, and write docs/reference/performance.md; needs wrk
	$(BIN)/python -m bench $(ARGS)

bench-peers: $(FULL) ## The same for other model servers as well; installs them in ~/.cache/inkling-bench
	$(BIN)/python -m bench --peers $(ARGS)

bench-phases: $(FULL) ## Measure the phases of a request, and write them to docs/reference/performance.md; needs wrk
	$(BIN)/python -m bench.phases $(ARGS)

bench-start: $(FULL) ## Measure the start-up time and imports, and write them to docs/reference/performance.md
	$(BIN)/python -m bench.start $(ARGS)

test-container: $(FULL) ## Build the image, and test a container of it
	$(BIN)/python -m pytest -m container $(ARGS)

# make deletes pyvenv.cfg when its recipe fails or is interrupted, so an incomplete environment is created again;
# that also removes the two stamps of the installed extras.
$(VENV)/pyvenv.cfg:
	@for python in $(PYTHONS); do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || continue; \
	  found=$$python; \
	  if $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "Creating $(VENV) with $$($$python --version)"; \
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

$(TRAIN): $(BASE)
	@test -e $(FULL) -a ! $(FULL) -ot pyproject.toml -a ! $(FULL) -ot constraints.txt || $(PIP_INSTALL) -e '.[training]'
	@touch $@

$(FULL): $(BASE)
	$(PIP_INSTALL) -e '.[training,import,dev,docs,grpc,client,bulk]'
	@touch $@

# Without npm the tests that need its packages are skipped.
$(NODE): package.json
	@if command -v npm >/dev/null; then npm install --silent --no-save && touch $@; \
	else echo "SKIPPED: type checks of the page; npm is not installed."; fi

# The clients of other model servers need older packages, so they have their own environment. It is created again when
# their requirements change. If the installation fails, their tests are skipped.
$(CLIENTS): tests/clients/requirements.txt tests/clients/constraints.txt $(VENV)/pyvenv.cfg
	@echo "Creating $(@D) for the tests with clients of other model servers"
	@$(BIN)/python -m venv --clear $(@D) && $(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c tests/clients/constraints.txt -r tests/clients/requirements.txt && touch $@ || \
	  echo "SKIPPED: tests with clients of other model servers; the installation failed."

# Generators of clients from the OpenAPI document: likewise.
$(GENERATORS): tests/generators/requirements.txt tests/generators/constraints.txt $(VENV)/pyvenv.cfg
	@echo "Creating $(@D) for the tests with generators of clients"
	@$(BIN)/python -m venv --clear $(@D) && $(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c tests/generators/constraints.txt -r tests/generators/requirements.txt && touch $@ || \
	  echo "SKIPPED: tests with generators of clients; the installation failed."

# openapi-typescript needs an older TypeScript than the page.
$(TYPESCRIPT): clients/typescript/package.json
	@if command -v npm >/dev/null; then cd clients/typescript && npm install --silent --no-package-lock && \
	  touch node_modules/.installed || echo "SKIPPED: tests of the TypeScript client; the installation failed."; \
	else echo "SKIPPED: tests of the TypeScript client; npm is not installed."; fi
