# Every target works on a fresh machine with Python >= 3.11, git, make and (only where a dependency
# has no ready-made wheel) a C compiler: the virtual environment is made from the hashed lock when
# it is missing or older than the lock.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV ?= .venv
# `autopilot` does less per event; it needs epoll, so elsewhere the usual reactor serves.
REACTOR ?= $(if $(filter Linux,$(shell uname -s)),autopilot,default)
BIN := $(VENV)/bin
# The first interpreter that runs and is new enough; a pyenv shim may exist and still not run.
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	if $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$each; break; fi; done)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.installed
CODE := $(wildcard autopilot stub_backend tests tools twisted benchmarks)
GATED := attestation feeds http relay request routing state upstream
ARGS ?=
# In run level 1 Debian installs a server without starting it.
APT := RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

# An environment from a lock. uv, which the lock pins too, takes seconds for what takes pip minutes; pip
# does it where only its own configuration knows the way to the index.
define environment
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed; set PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(1)
	@sed -n '/^uv==/,/[^\\]$$/p' locks/development.txt >$(1)/uv.txt
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)/uv.txt
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --require-hashes -r $(2) || \
		$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2)
endef

LOCKED := $(wildcard locks/runtime.txt locks/tracing.txt locks/development.txt)

$(STAMP): $(LOCKED) pyproject.toml
	$(call environment,$(VENV),locks/development.txt)
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: venv
venv: $(STAMP) ## make the virtual environment

.PHONY: run
run: $(STAMP) ## serve; settings come from the environment, .env and ARGS="--option=value"
	$(BIN)/twistd --nodaemon --pidfile= --reactor=$(REACTOR) autopilot $(ARGS)

.PHONY: demo
demo: $(STAMP) ## stub backend and router together, with requests that explain themselves
	$(BIN)/python -m stub_backend.demo $(ARGS)

# The longest first: `make --jobs=2 test` then takes little longer than that.
.PHONY: test
test: pytest trial around types browser clients node-clients recipes docs lint imports conduct ## everything but the smoke run

# What makes and runs an image without Docker, as root.
IMAGE_TOOLS := buildah mmdebstrap runc
# Without one of these the tests that need it are skipped, and say so.
SYSTEM := libfaketime chromium caddy curl prometheus strace systemd valgrind $(IMAGE_TOOLS)

.PHONY: system
system: ## install what some tests need of Debian, as root
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(SYSTEM) >/dev/null 2>&1; then \
		$(APT) update -qq; \
		for each in $(SYSTEM); do $(APT) install -qq -y --no-install-recommends $$each >/dev/null \
			|| echo "$$each could not be installed: the tests that need it will be skipped"; done; fi

# These have a target of their own: after what they need has been installed, or beside the others.
AROUND := sdk/test_curl.py tools deploy/prometheus
APART := sdk tools deploy/prometheus

.PHONY: pytest
pytest: $(STAMP) ## the tests under pytest, with the coverage gate
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(APART:%=--ignore=tests/%) $(ARGS)
	$(BIN)/python -m tools.coverage_gate --at-least 95 $(GATED)

.PHONY: around
around: $(STAMP) ## the tests of what surrounds the router: packaging, hygiene, dashboard and alerts, curl
	$(BIN)/python -m pytest $(AROUND:%=tests/%) $(ARGS)

# Those that watch processes from outside run once, under pytest: it makes no difference to a process.
WATCHED := browser deploy docs process rigs sdk tools
TRIED := $(filter-out $(WATCHED:%=tests.%),$(patsubst tests/%/__init__.py,tests.%,$(wildcard tests/*/__init__.py)))

.PHONY: trial
trial: $(STAMP) ## the tests that are plain test cases, under trial
	$(BIN)/python -m twisted.trial --reporter=text $(TRIED)

.PHONY: conduct
conduct: $(STAMP) ## print what clients see when a model misbehaves, in virtual time
	$(BIN)/python -m tests.conduct

.PHONY: smoke
smoke: $(STAMP) ## real processes, real sockets; reports to logs/smoke
	$(BIN)/python -m tests.rigs.smoke $(ARGS)

.PHONY: soak
soak: $(STAMP) ## ten minutes of a bad day, every answer accounted for; reports to logs/soak; ARGS=--quick
	$(BIN)/python -m tests.rigs.soak $(ARGS)

.PHONY: live
live: $(STAMP) ## compare the platform with the stand-in, with CHUTES_API_KEY; without it, say what would be done
	$(BIN)/python -m tests.rigs.live $(ARGS)

.PHONY: lint
lint: lock-check lint-files prose secrets $(STAMP) ## format and lint, changing nothing
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

SCRIPTS := .ci/run $(wildcard deploy/*/*.sh tools/*.sh)

.PHONY: lint-files
lint-files: $(STAMP) ## the Dockerfile, the shell scripts and what is in .github
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck $(SCRIPTS)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github

# pyproject.toml names what codespell skips, tools/prose.toml the rejected wording.
.PHONY: prose
prose: $(STAMP) ## spelling, and the wording of docstrings, comments and messages
	$(BIN)/codespell
	$(BIN)/python -m tools.prose

.PHONY: secrets
secrets: $(STAMP) ## look for secrets in the files and in the whole history
	$(BIN)/python -m tools.hygiene $(ARGS)

.PHONY: fmt
fmt: $(STAMP) ## format, and repair what can be repaired
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

.PHONY: types
types: $(STAMP) ## mypy, strict
	$(BIN)/mypy
	$(BIN)/mypy twisted/plugins/autopilot_plugin.py

.PHONY: imports
imports: $(STAMP) ## the direction of imports between the folders
	$(BIN)/lint-imports

.PHONY: locks
locks: $(STAMP) ## resolve the dependencies anew: make locks ARGS=--upgrade
	$(BIN)/python -m tools.resolve $(ARGS)
	$(BIN)/python tools/locks.py --record
	@$(MAKE) --no-print-directory sbom licences

.PHONY: lock-check
lock-check: ## whether the locks are there, unmodified and made from pyproject.toml as it is
	@$(PYTHON) tools/locks.py

# The Python SDKs of the tests, and the LiteLLM that `make bench` compares the router with.
LITELLM := .venv-litellm

$(LITELLM)/.installed: locks/litellm.txt $(STAMP)
	$(PYTHON) -m venv --clear $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --require-hashes -r $< || \
		$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

PEERS := nginx-light caddy

.PHONY: bench
bench: $(STAMP) $(LITELLM)/.installed ## CPU, latency and memory beside nginx, Caddy and LiteLLM: up to an hour, or ARGS=--quick
	@if ! { command -v nginx && command -v caddy; } >/dev/null && [ "$$(id -u)" = 0 ]; then \
		$(APT) update -qq && $(APT) install -qq -y --no-install-recommends $(PEERS); fi
	$(BIN)/python -m benchmarks $(ARGS)

# It reports what it cannot count without strace and valgrind, which `make system` installs.
.PHONY: cost
cost: $(STAMP) ## compare calls, system calls, instructions and bytes per unit with benchmarks/cost.toml; six minutes
	$(BIN)/python -m benchmarks.cost $(ARGS)

.PHONY: docs
docs: $(STAMP) ## build the documentation into build/docs, and look at every link in it
	$(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m tools.docs build/docs

.PHONY: fuzz
fuzz: $(STAMP) ## fuzzing with coverage guidance, a minute for each target: ARGS="--seconds 600 --only client"
	$(BIN)/python -m tests.rigs.fuzz $(ARGS)

.PHONY: mutation
mutation: $(STAMP) ## change routing in a thousand ways and see whether its tests notice
	$(BIN)/python -m tests.rigs.mutation $(ARGS)

# CI makes it part of its run; where chromium cannot be had the tests say so and are skipped.
.PHONY: browser
browser: $(STAMP) ## the status page in a real Chromium; screenshots to logs/browser
	$(BIN)/python -m pytest tests/browser $(ARGS)

NODE := tests/sdk/node

$(NODE)/node_modules/.installed: $(NODE)/package-lock.json
	@if command -v npm >/dev/null; then cd $(NODE) && npm ci --ignore-scripts --loglevel=error && touch $(@:$(NODE)/%=%); \
		else echo 'npm is not here: the tests that need its packages will be skipped'; fi

.PHONY: node-clients
node-clients: $(STAMP) $(NODE)/node_modules/.installed ## the JavaScript SDKs against real processes, with node where it is
	$(BIN)/python -m pytest tests/sdk/node $(ARGS)

.PHONY: clients
clients: $(STAMP) $(LITELLM)/.installed ## the Python SDKs against real processes
	CLIENTS_PYTHON=$(LITELLM)/bin/python $(BIN)/python -m pytest tests/sdk/python $(ARGS)

# RECIPES_PROGRAMS names folders that have aider and claude.
.PHONY: recipes
recipes: $(STAMP) $(LITELLM)/.installed $(NODE)/node_modules/.installed ## every block of docs/recipes.md, with the clients it is for
	CLIENTS_PYTHON=$(LITELLM)/bin/python $(BIN)/python -m pytest tests/sdk/recipes $(ARGS)

.PHONY: image
image: ## build the image: BASE, TARGET, USER_ID, GROUP_ID, CA_FILE; without Docker by buildah, as root
	PYTHON=$(PYTHON) sh deploy/image/build.sh

.PHONY: image-test
image-test: $(STAMP) ## build the image and run it without Docker, as root: no rights, nothing writable
	@$(BIN)/python -m tools.image.able
	LAYERS=no WORK=build/image-test PYTHON=$(BIN)/python sh deploy/image/build.sh
	AUTOPILOT_IMAGE=$$(echo build/image-test/chutes-autopilot-*.tar) $(BIN)/python -m pytest tests/deploy/image $(ARGS)

.PHONY: image-check
image-check: $(STAMP) ## build the image twice from nothing, as root, and compare the two file by file
	$(BIN)/python -m tools.image

.PHONY: dist
dist: $(STAMP) ## build wheel and sdist of the last commit into dist/, the same bytes every time
	@rm -f dist/chutes_autopilot-*
	$(BIN)/python -m tools.distributions dist

# Its two halves can go side by side: the second has no use for the tools of the first.
.PHONY: release-check release-tools release-install
release-check: release-tools release-install ## check what `make dist` builds, the news and the bill of materials, and install both in empty environments

release-tools: dist
	$(BIN)/python -m twine check --strict dist/chutes_autopilot-*
	$(BIN)/python -m pytest -q tests/tools/test_release_tools.py

release-install: dist
	PYTHON=$(BIN)/python sh tools/install.sh dist

.PHONY: changelog-draft
changelog-draft: $(STAMP) ## show the news of the next release, from changelog.d
	@$(BIN)/towncrier build --draft

.PHONY: sbom
sbom: $(STAMP) ## list what the image installs in deploy/image/sbom.cdx.json (CycloneDX)
	$(BIN)/python -m tools.sbom

.PHONY: licences
licences: $(STAMP) ## list the licences of what the image installs in docs/licences.md; one that was not agreed to is an error
	$(BIN)/python -m tools.licences locks/runtime.txt docs/licences.md

.PHONY: audit
audit: $(STAMP) ## ask OSV for known vulnerabilities of what is locked; no answer is an error of its own (3); ARGS="--osv-url URL"
	$(BIN)/python -m tools.audit locks/runtime.txt $(ARGS)

.PHONY: clean
clean: ## remove everything that was generated, the virtual environment included
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* coverage.json _trial_temp* .hypothesis \
		.mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
		logs/browser logs/smoke logs/live logs/soak logs/fuzz logs/mutation \
		$(LITELLM) $(NODE)/node_modules twisted/plugins/dropin.cache twistd.log* twistd.pid \
		benchmarks/out
	find autopilot benchmarks stub_backend tests tools twisted -name __pycache__ -type d -prune -exec rm -rf {} +
