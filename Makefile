# Every target works on a fresh machine with Python >= 3.11, git, make and, if a dependency has no
# wheel for it, a C compiler. The virtual environment is created from the hashed lock when it is
# missing or older than the lock.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV ?= .venv
BIN := $(VENV)/bin
# The first interpreter that runs and is new enough; a pyenv shim may exist without running.
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	if $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$each; break; fi; done)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.installed
CODE := $(wildcard autopilot stub_backend tests tools twisted benchmarks)
# The Python SDKs of the tests, and the LiteLLM that `make bench` compares the router with.
LITELLM := .venv-litellm
# The platform's own encryption package, with which the router's sealing is compared.
E2EE := .venv-e2ee
NODE := tests/sdk/node
# The frameworks and programs that `make clients` runs.
FRAMEWORKS := .venv-frameworks
PROGRAMS := tests/sdk/programs
GATED := attestation feeds http relay request routing state upstream
ARGS ?=
# In run level 1, Debian installs a server without starting it.
APT := RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get

# What `make help` lists in each group, in this order; a test compares them with all targets. A target
# that takes over a minute says so.
USE := demo run venv image system clean help
DEVELOP := check test verify fmt lint lint-files prose secrets types imports lock-check unit coverage untraced \
	processes around sdks clients trial conduct smoke browser picture docs \
	lowest pythons hold soak soak-workers soak-hostile replicas machines breaks tokens fuzz mutation cost bench live image-test
RELEASE := locks audit sbom licences changelog-draft dist release-check release-tools release-install image-check

.PHONY: help
help: ## list the targets
	@list() { printf '%s\n' "$$1"; shift; for each; do \
		printf '  %-16s' "$$each"; sed -nE "s/^$$each:.*## (.*)/\1/p" $(firstword $(MAKEFILE_LIST)); done; }; \
	list 'Use:' $(USE); list 'Develop:' $(DEVELOP); list 'Release:' $(RELEASE)

# Create an environment from a lock. uv, which the lock pins, takes seconds where pip takes minutes; pip
# is the fallback if only its own configuration has the index.
define environment
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed; set PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(1)
	@sed -n '/^uv==/,/[^\\]$$/p' locks/development.txt >$(1)/uv.txt
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)/uv.txt
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --require-hashes -r $(2) || \
		$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2)
endef

LOCKED := $(wildcard locks/runtime.txt locks/tracing.txt locks/private.txt locks/development.txt)

$(STAMP): $(LOCKED) pyproject.toml
	$(call environment,$(VENV),locks/development.txt)
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: venv
venv: $(STAMP) ## create the virtual environment

# The router runs from the checkout in an environment with the runtime's lock alone, which takes
# seconds to create, unless the one for development exists.
RUNTIME := .venv-run
RUNS_IN := $(if $(wildcard $(STAMP)),$(VENV),$(RUNTIME))

$(RUNTIME)/.installed: locks/runtime.txt
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed; set PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) tools/run_environment.py $(@D) $<
	@touch $@

# What only the demo of private mode needs, into that environment; the one for development has it.
$(RUNTIME)/.private: locks/private.txt $(RUNTIME)/.installed
	@$(PYTHON) tools/run_environment.py $(@D) $<
	@touch $@

.PHONY: run
run: $(RUNS_IN)/.installed ## run the router; settings come from ARGS="--option=value", the environment and .env
	@$(RUNS_IN)/bin/python -m autopilot run $(ARGS)

.PHONY: demo
demo: $(RUNS_IN)/.installed $(if $(filter --private,$(ARGS)),$(filter $(RUNTIME)%,$(RUNS_IN)/.private)) ## run stub backend and router together, with explained requests: ARGS=--stay, or ARGS=--private
	@$(RUNS_IN)/bin/python -m autopilot demo --by-make $(ARGS)

# The three commands. Each prints its parts with their times; the longest part starts first. JOBS parts
# run at a time, one more than two cores, as the tests of processes mostly wait; ALSO names further
# parts.
JOBS ?= 3
CHECK := unit lint types imports
TEST := processes coverage sdks untraced around trial lint types docs imports conduct
VERIFY := clients hold soak soak-workers soak-hostile replicas fuzz mutation machines breaks tokens cost lowest pythons image-check

.PHONY: check test verify
check: $(STAMP) ## run before each commit: format, types, imports and unit tests; two minutes
	@$(BIN)/python -m tools.parts --jobs $(JOBS) $(CHECK) $(ALSO)

test: $(STAMP) $(LITELLM)/.installed $(E2EE)/.installed $(NODE)/node_modules/.installed ## run what CI runs; twelve minutes
	@$(BIN)/python -m tools.parts --jobs $(JOBS) $(TEST) $(ALSO)

verify: $(STAMP) ## run everything that takes long, part by part, in an hour or two; each part is a target
	@$(BIN)/python -m tools.parts --jobs 1 $(VERIFY) $(ALSO)

# The tools that build and run an image without Docker, as root.
IMAGE_TOOLS := buildah mmdebstrap runc
# Tests that need one of these are skipped, with a message, if it is not installed.
SYSTEM := libfaketime chromium caddy curl haproxy nginx-light prometheus redis-server strace systemd tinyproxy valgrind $(IMAGE_TOOLS)

.PHONY: system
system: ## install the Debian packages that some tests need, as root
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(SYSTEM) >/dev/null 2>&1; then \
		$(APT) update -qq; \
		for each in $(SYSTEM); do $(APT) install -qq -y --no-install-recommends $$each >/dev/null \
			|| echo "$$each could not be installed: the tests that need it will be skipped"; done; fi

# A package or module of the tests names its marks in MARKS; pyproject.toml explains each.
PYTEST := $(BIN)/python -m pytest -q --durations=10

.PHONY: unit coverage untraced processes around sdks
unit: $(STAMP) ## run the tests of the modules: minutes
	$(PYTEST) tests/unit $(ARGS)

coverage: $(STAMP) ## run the tests that start no process, with the coverage gate: minutes
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q --durations=10 -m 'not (untraced or process or around or sdk)' $(ARGS)
	$(BIN)/python -m tools.coverage_gate --at-least 95 $(GATED)

untraced: $(STAMP) ## run the properties, the state machines and the tests of what is not the router: minutes
	$(PYTEST) -m untraced $(ARGS)

processes: $(STAMP) ## run the tests that start processes: minutes
	$(PYTEST) -m process $(ARGS)

around: $(STAMP) ## run the tests of the tools that build, check and package the project
	$(PYTEST) -m around $(ARGS)

sdks: $(STAMP) $(LITELLM)/.installed $(E2EE)/.installed $(NODE)/node_modules/.installed ## run SDKs, curl and their blocks of docs/recipes.md against real processes
	CLIENTS_PYTHON=$(LITELLM)/bin/python E2EE_PYTHON=$(E2EE)/bin/python $(PYTEST) -m sdk $(ARGS)

BINARIES := $(PROGRAMS)/node_modules
INSTALLED := $(LITELLM)/.installed $(FRAMEWORKS)/.installed $(NODE)/node_modules/.installed $(BINARIES)/.installed

# RECIPES_PROGRAMS names the folders of the programs, and may name that of aider.
.PHONY: clients
clients: $(STAMP) $(INSTALLED) ## run each block of docs/recipes.md, frameworks and programs included, as a process of its own
	CLIENTS_PYTHON=$(LITELLM)/bin/python FRAMEWORKS_PYTHON=$(FRAMEWORKS)/bin/python RECIPES_APART=1 \
		RECIPES_PROGRAMS="$(BINARIES)/.bin:$(BINARIES)/@anthropic-ai/claude-code-linux-x64:$(BINARIES)/opencode-linux-x64/bin:$(RECIPES_PROGRAMS)" \
		$(PYTEST) tests/sdk/recipes $(ARGS)

TRIED = $(subst /,.,$(patsubst %.py,%,$(patsubst %/__init__.py,%,$(shell grep -rlE '^MARKS = .*"trial"' tests --include='*.py'))))

.PHONY: trial
trial: $(STAMP) ## run the tests marked `trial` under trial: two minutes
	$(BIN)/python -m twisted.trial --reporter=text $(TRIED)

.PHONY: machines
machines: $(STAMP) ## run the state machines with MACHINE_EXAMPLES new examples, 5000 by default: minutes
	MACHINE_EXAMPLES=$(or $(MACHINE_EXAMPLES),5000) $(PYTEST) tests/properties -k machine $(ARGS)

.PHONY: tokens
tokens: $(STAMP) ## compare the tokens and the cost of TOKEN_CALLS random calls, 10000 by default, with the stub's ledger: minutes
	TOKEN_CALLS=$(or $(TOKEN_CALLS),10000) $(PYTEST) tests/conduct/test_tokens.py $(ARGS)

.PHONY: breaks
breaks: $(STAMP) $(LITELLM)/.installed ## break the streams of real SDKs after each of their bytes: minutes
	EVERY_BYTE=1 CLIENTS_PYTHON=$(LITELLM)/bin/python $(PYTEST) -k breaks \
		tests/sdk/python/test_sdks.py tests/sdk/python/test_openai_breaks.py $(ARGS)

.PHONY: conduct
conduct: $(STAMP) ## print what clients see when a model misbehaves, in virtual time
	$(BIN)/python -m tests.conduct

.PHONY: smoke
smoke: $(STAMP) ## run the smoke test with real processes and sockets; reports to logs/smoke
	$(BIN)/python -m tests.rigs.smoke $(ARGS)

.PHONY: soak
soak: $(STAMP) ## run ten minutes of mixed faults and check every response byte; reports to logs/soak; ARGS=--quick
	$(BIN)/python -m tests.rigs.soak $(ARGS)

.PHONY: soak-workers
soak-workers: $(STAMP) ## run the soak with four workers and a store that misbehaves: ten minutes, or ARGS=--quick
	$(BIN)/python -m tests.rigs.soak --workers 4 --store $(ARGS)

.PHONY: soak-hostile
soak-hostile: $(STAMP) ## compare the latency of honest clients alone and beside hostile ones: two minutes
	$(BIN)/python -m tests.rigs.soak --hostile $(ARGS)

.PHONY: replicas
replicas: $(STAMP) ## hold 200 conversations over three routers whose store is killed, paused and filled: minutes
	$(BIN)/python -m tests.rigs.replicas $(ARGS)

.PHONY: hold
hold: $(STAMP) ## measure how long hostile inputs hold the router, and their memory: minutes, or ARGS="--only 'bodies.*4 MB'"
	$(BIN)/python -m tests.rigs.hold $(ARGS)

.PHONY: live
live: $(STAMP) ## compare the platform with the stub; without CHUTES_API_KEY, print the planned requests
	$(BIN)/python -m tests.rigs.live $(ARGS)

.PHONY: lint
lint: lock-check lint-files prose secrets $(STAMP) ## check formatting, lint rules, wording, locks and secrets without changing a file
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

SCRIPTS := .ci/run $(wildcard deploy/*/*.sh tools/*.sh)

.PHONY: lint-files
lint-files: $(STAMP) ## check the Dockerfile, the shell scripts and .github
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck $(SCRIPTS)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github

# pyproject.toml lists what codespell skips, tools/prose.toml the rejected wording.
.PHONY: prose
prose: $(STAMP) ## check the spelling, and the wording of docstrings, comments, messages and pages
	$(BIN)/codespell
	$(BIN)/python -m tools.prose

.PHONY: secrets
secrets: $(STAMP) ## scan the files and the whole history for secrets
	$(BIN)/python -m tools.hygiene $(ARGS)

.PHONY: fmt
fmt: $(STAMP) ## format, and apply the fixes of the linter
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

.PHONY: types
types: $(STAMP) ## check the types with mypy --strict
	$(BIN)/mypy
	$(BIN)/mypy twisted/plugins/autopilot_plugin.py

.PHONY: imports
imports: $(STAMP) ## check the layers of imports
	$(BIN)/lint-imports

.PHONY: locks
locks: $(STAMP) ## resolve the dependencies again: make locks ARGS=--upgrade
	$(BIN)/python -m tools.resolve $(ARGS)
	$(BIN)/python tools/locks.py --record
	@$(MAKE) --no-print-directory sbom licences

.PHONY: lock-check
lock-check: ## check that the locks exist, are unmodified and match pyproject.toml
	@$(PYTHON) tools/locks.py

.venv-%/.installed: locks/%.txt $(STAMP)
	$(PYTHON) -m venv --clear $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --require-hashes -r $< || \
		$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

PEERS := nginx-light caddy

.PHONY: bench
bench: $(STAMP) $(LITELLM)/.installed ## measure CPU, latency and memory beside nginx, Caddy and LiteLLM: up to an hour, or ARGS=--quick
	@if ! { command -v nginx && command -v caddy; } >/dev/null && [ "$$(id -u)" = 0 ]; then \
		$(APT) update -qq && $(APT) install -qq -y --no-install-recommends $(PEERS); fi
	$(BIN)/python -m benchmarks $(ARGS)

# It reports what it cannot count without strace and valgrind, which `make system` installs.
.PHONY: cost
cost: $(STAMP) ## compare calls, system calls, instructions and bytes per unit with benchmarks/cost.toml; six minutes
	$(BIN)/python -m benchmarks.cost $(ARGS)

.PHONY: docs
docs: $(STAMP) ## build the documentation into build/docs, and check its links
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	$(BIN)/python -m tools.docs build/docs

.PHONY: fuzz
fuzz: $(STAMP) ## run coverage-guided fuzzing, a minute for each target: ARGS="--seconds 600 --only client"
	$(BIN)/python -m tests.rigs.fuzz $(ARGS)

.PHONY: mutation
mutation: $(STAMP) ## run mutation tests of routing and verification: changes that tests must detect; ARGS=plan for a module; minutes
	$(BIN)/python -m tests.rigs.mutation $(ARGS)

# CI runs this, too; without chromium the tests are skipped, with a message.
.PHONY: browser
browser: $(STAMP) ## test the status page in Chromium; screenshots to logs/browser
	$(BIN)/python -m pytest tests/browser $(ARGS)

.PHONY: picture
picture: $(STAMP) ## photograph the status page in Chromium for the README: docs/images/status.png
	$(BIN)/python -m tools.picture

tests/sdk/%/node_modules/.installed: tests/sdk/%/package-lock.json
	@if command -v npm >/dev/null; then cd tests/sdk/$* && npm ci --ignore-scripts --loglevel=error && touch node_modules/.installed; \
		else echo 'npm is not installed: the tests that need its packages will be skipped'; fi

.PHONY: lowest
lowest: $(STAMP) ## run the unit tests with the lowest versions that pyproject.toml allows: minutes
	@mkdir -p build
	$(BIN)/uv pip compile --quiet --python-version 3.11 --resolution lowest-direct --generate-hashes --no-annotate \
		--no-header --group test --extra otel --extra private --output-file build/lowest.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --require-hashes -r build/lowest.txt
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --no-deps --no-build-isolation --editable .
	.venv-lowest/bin/python -m pytest -q tests/unit $(ARGS)

# Each version has an environment of its own; a version that is not installed is reported and skipped. These
# and the lowest one, on which all other targets run, are what the wheel claims.
VERSIONS ?= 3.12 3.13

.PHONY: pythons
pythons: $(STAMP) ## run the unit tests on every further Python that is installed, minutes for each: VERSIONS="3.12 3.13"
	@failed=; for each in $(VERSIONS); do \
		found=; for program in python$$each "$$HOME"/.pyenv/versions/$$each.*/bin/python; do \
			if "$$program" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$program; fi; done; \
		if [ -z "$$found" ]; then echo "== Python $$each: not installed; nothing was run"; continue; fi; \
		echo "== Python $$each: $$found"; \
		$(MAKE) --no-print-directory unit VENV=.venv-$$each PYTHON="$$found" || failed="$$failed $$each"; \
	done; [ -z "$$failed" ] || { echo "the unit tests failed on Python$$failed" >&2; exit 1; }

.PHONY: image
image: ## build the image: BASE, TARGET, USER_ID, GROUP_ID, CA_FILE; without Docker with buildah, as root
	PYTHON=$(PYTHON) sh deploy/image/build.sh

.PHONY: image-test
image-test: $(STAMP) ## build the image and test it without Docker, as root: no capabilities, read-only; over a minute
	@$(BIN)/python -m tools.image.able
	LAYERS=no WORK=build/image-test PYTHON=$(BIN)/python sh deploy/image/build.sh
	AUTOPILOT_IMAGE=$$(echo build/image-test/chutes-autopilot-*.tar) $(BIN)/python -m pytest tests/deploy/image $(ARGS)

.PHONY: image-check
image-check: $(STAMP) ## build the image twice from scratch, as root, and compare the two file by file; six minutes
	$(BIN)/python -m tools.image

.PHONY: dist
dist: $(STAMP) ## build wheel and sdist of the last commit into dist/, reproducibly
	@rm -f dist/chutes_autopilot-*
	$(BIN)/python -m tools.distributions dist

# The two halves can run in parallel: the second needs none of the first one's tools.
.PHONY: release-check release-tools release-install
release-check: release-tools release-install ## check the distributions, the news and the bill of materials, and install both in empty environments

release-tools: dist ## check the distributions, the news and the bill of materials
	$(BIN)/python -m twine check --strict dist/chutes_autopilot-*
	$(BIN)/python -m pytest -q tests/tools/test_release_tools.py

release-install: dist ## install both distributions in empty environments
	PYTHON=$(BIN)/python sh tools/install.sh dist

.PHONY: changelog-draft
changelog-draft: $(STAMP) ## print the news of the next release, from changelog.d
	@$(BIN)/towncrier build --draft

.PHONY: sbom
sbom: $(STAMP) ## write the image's bill of materials to deploy/image/sbom.cdx.json (CycloneDX)
	$(BIN)/python -m tools.sbom

.PHONY: licences
licences: $(STAMP) ## write the licences of the image's packages to docs/licences.md; fail on one that is not allowed
	$(BIN)/python -m tools.licences locks/private.txt docs/licences.md

.PHONY: audit
audit: $(STAMP) ## query OSV for vulnerabilities of the locked packages; exit 3 if it does not respond; ARGS="--osv-url URL"
	$(BIN)/python -m tools.audit locks/private.txt $(ARGS)

.PHONY: clean
clean: ## remove all generated files, including the virtual environment
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* coverage.json _trial_temp* .hypothesis \
		.mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
		logs/browser logs/smoke logs/live logs/soak logs/hold logs/fuzz logs/mutation \
		.venv-* $(NODE)/node_modules $(PROGRAMS)/node_modules twisted/plugins/dropin.cache twistd.log* twistd.pid \
		benchmarks/out
	find autopilot benchmarks stub_backend tests tools twisted -name __pycache__ -type d -prune -exec rm -rf {} +
