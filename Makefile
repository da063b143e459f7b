# Atelier. `make demo` shows what it does, `make test` proves it. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .venv-protos
OPS := .venv-ops
PROMPT ?= a serene landscape with mountains and a lake at sunset
SAY ?= Welcome to the studio. A prompt goes in, a picture comes out.
export PROMPT SAY
NAME ?=
ARGS ?=
BASE ?=
VARIANT ?= cpu
TAG ?= dev$(if $(filter cuda,$(VARIANT)),-cuda)
SERVICES ?= router voice rewrite_llm imagegen
MINUTES ?= 30
SOURCES := servekit services atelier_client recipes evals bench deploy/envoy deploy/grafana deploy/local deploy/prometheus tests

.PHONY: soak help setup demo run test lint fix protos bench doctor clean packages train-sketch train-sketch-qwen eval eval-sketch \
	test-unit test-contract test-integration test-e2e test-ops packages-ops packages-soak dashboards images test-images packages-images

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 20

setup: $(VENV)/.stamp ## create .venv with everything a developer needs (seconds when nothing changed)

$(VENV)/.stamp: pyproject.toml constraints.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m deploy.local.fit_torchaudio
	@touch $@

$(TOOLS)/.stamp: protos/requirements.txt
	$(TOOLS)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r protos/requirements.txt
	@touch $@

demo: setup ## start the studio, make out/demo.png and out/demo.wav, stop it: make demo PROMPT="…" SAY="…"
	@$(BIN)/python -m deploy.local.demo --prompt "$$PROMPT" --say "$$SAY"

run: setup ## keep the studio up in the foreground until Ctrl-C
	@$(BIN)/python -m deploy.local.run

test: lint packages ## everything: lint, unit, contract, integration, e2e
	$(BIN)/pytest tests/unit tests/contract tests/integration tests/e2e $(ARGS)

lint: setup $(TOOLS)/.stamp ## ruff, mypy, import contracts, buf, freshness of generated files (changes nothing)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && protos/generate.sh "$$fresh" $(TOOLS) && \
		diff -r -x __pycache__ atelier "$$fresh/atelier" || { echo "stubs are stale: run make protos"; exit 1; }
	$(BIN)/python -m deploy.local.settings_table --check README.md
	$(BIN)/python -m deploy.local.sizing_table --check docs/operate/sizing.md
	$(BIN)/python -m deploy.grafana --check
	$(BIN)/python -m deploy.prometheus.operator --check

fix: setup ## format and repair what ruff and buf can
	$(BIN)/ruff check --fix . || true
	$(BIN)/ruff format .
	cd protos && ../$(BIN)/buf format -w
	$(BIN)/python -m deploy.local.settings_table --write README.md
	$(BIN)/python -m deploy.local.sizing_table --write docs/operate/sizing.md
	$(BIN)/python -m deploy.grafana --write
	$(BIN)/python -m deploy.prometheus.operator --write

protos: $(TOOLS)/.stamp ## generate the stubs from protos/
	protos/generate.sh . $(TOOLS)

$(OPS)/.stamp: tests/ops/requirements.txt
	$(OPS)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(OPS)
	$(OPS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/ops/requirements.txt
	@touch $@

packages: # Debian packages that tests call
	@command -v openssl >/dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends openssl; }

packages-ops: # Prometheus and Alertmanager; a package of Debian starts no daemon where policy-rc.d forbids it
	@{ command -v promtool && command -v amtool; } >/dev/null || { apt-get update -q && deploy/prometheus/install.sh; }

packages-soak: # a clock that can be set for one process
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q --no-install-recommends libfaketime; }

packages-images: # a builder and a runtime of containers that need no daemon; `type` wants all of them, `command -v` any
	@type buildah podman mmdebstrap runc catatonit conmon iptables >/dev/null 2>&1 || { apt-get update -q && \
		apt-get install -y -q --no-install-recommends buildah podman mmdebstrap runc catatonit conmon netavark aardvark-dns iptables; }

images: packages-images ## build the four images with buildah, on a base made here; BASE=… names another, VARIANT=cuda the GPU ones
	@set -e; base="$(BASE)"; \
	if [ -z "$$base" ]; then base=localhost/atelier/base:bookworm; buildah inspect "$$base" >/dev/null 2>&1 || deploy/docker/base.sh "$$base"; fi; \
	for service in $(SERVICES); do \
		BASE="$$base" deploy/docker/build.sh "$$service" $(VARIANT) "localhost/atelier/$${service//_/-}:$(TAG)"; \
	done
	@buildah images | grep localhost/atelier/

test-images: setup packages-images $(OPS)/.stamp ## the built images: size, user, health check, drain (after `make images`; not in `make test`, it takes a builder)
	$(BIN)/pytest tests/images $(ARGS)

test-unit: setup ## fast tests without torch
	$(BIN)/pytest tests/unit $(ARGS)

test-contract: setup ## every engine and catalog row against its port
	$(BIN)/pytest tests/contract $(ARGS)

test-integration: setup packages ## real in-process servers
	$(BIN)/pytest tests/integration $(ARGS)

test-e2e: setup ## the four real processes
	$(BIN)/pytest tests/e2e $(ARGS)

test-ops: setup packages-ops $(OPS)/.stamp ## the manifests, the edge and the alerts, with the tools of an operator (not in `make test`: they take a minute to install)
	$(BIN)/pytest tests/ops $(ARGS)

dashboards: setup packages-ops ## draw the dashboards from a studio at work, into docs/operate/dashboards
	$(BIN)/python -m deploy.grafana.draw

bench: setup ## run all benchmarks, or one: make bench NAME=router_overhead
	$(BIN)/python -m bench $(NAME)

soak: setup packages-soak ## minutes of load, then faults: make soak MINUTES=30 ARGS="killed full-disk"
	$(BIN)/python -m bench._soak --minutes $(MINUTES) $(ARGS)

doctor: setup ## which device, which dtype, and why
	@$(BIN)/atelier doctor

train-sketch: setup ## train the bundled image model
	$(BIN)/python -m recipes.sketch.train $(ARGS)

train-sketch-qwen: setup ## train the bundled language model
	$(BIN)/python -m recipes.sketch_qwen.train $(ARGS)

eval: setup ## routing and safety on the labelled prompts
	$(BIN)/python -m evals.run $(ARGS)

eval-sketch: setup ## attribute accuracy of the bundled image model
	$(BIN)/python -m recipes.sketch.evaluate $(ARGS)

clean: ## remove what the other targets made (not the environments)
	rm -rf out runs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
