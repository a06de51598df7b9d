# Everything that a person types, here and on a server. `make` alone explains it.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
SPACE_BIN := space/.venv/bin
SPACE_TESTS = $(patsubst space/%,%,$(filter space/%,$(T)))
APP_TESTS = $(filter-out space/%,$(T))
CATALOGUES := ghibli_flask/translations
EXTRACT := -F babel.cfg --no-default-keywords -k _ -k gettext -k ngettext:1,2 --add-location=file --sort-by-file -w 120
UPDATE := -w 120 --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date
SET_UP := PYTHON="$(PYTHON)" scripts/setup/environment.sh

##@ Every day
.PHONY: run
run: setup ## Start everything on this machine and print the address; Ctrl-C stops it
	@$(BIN)/python -m scripts.run

.PHONY: test
test: setup-test ## Run every check and test; T=path runs the tests of one file or folder alone
ifdef T
	$(if $(SPACE_TESTS),cd space && .venv/bin/python -m pytest --durations=5 $(SPACE_TESTS))
	$(if $(APP_TESTS),$(BIN)/python -m pytest --durations=20 $(SIDE_BY_SIDE) $(APP_TESTS))
else
	@$(MAKE) lint test T="space/tests tests" SIDE_BY_SIDE="-n 3 --no-loadscope-reorder"
endif

.PHONY: lint
lint: setup-dev ## Check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: setup-dev ## Put the code into the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

##@ On a server
.PHONY: worker
worker: setup-app ## Start painting worker, maintenance worker and scheduler with the settings of .env
	@$(BIN)/python -m scripts.run workers

.PHONY: migrate
migrate: setup-app ## Bring the database up to date
	$(BIN)/flask --app wsgi db upgrade

.PHONY: check-engines
check-engines: setup-app ## Ask every engine, token and proxy whether it works; PAINT=1 has each paint, ENGINE=name asks one
	@$(BIN)/python -m scripts.check_engines $(if $(PAINT),--paint) $(ENGINE:%=--engine %)

.PHONY: check
check: setup-app ## Look at every setting, service and engine and at this machine before visitors do
	@$(BIN)/python -m scripts.check_production_config

.PHONY: smoke
smoke: setup-app ## Walk through a running site, URL=https://…, from the upload to the deletion
	@$(BIN)/python -m scripts.smoke $(URL)

##@ Now and then
.PHONY: translations
translations: setup-dev ## Bring the catalogues of texts up to date and compile them; NEW=de begins a language
	@mkdir -p .state
	$(BIN)/pybabel -q extract $(EXTRACT) -o .state/messages.pot .
	$(if $(NEW),$(BIN)/pybabel -q init -w 120 -i .state/messages.pot -d $(CATALOGUES) -l $(NEW))
	$(BIN)/pybabel -q update $(UPDATE) -i .state/messages.pot -d $(CATALOGUES)
	$(BIN)/pybabel compile -d $(CATALOGUES) --statistics

.PHONY: examples
examples: setup-space ## Paint the example pictures of the styles anew
	NUMBA_CACHE_DIR=instance/numba-cache $(SPACE_BIN)/python scripts/make_examples.py

.PHONY: icons
icons: setup-dev ## Draw the icons of the installed site anew from static/img/favicon.svg
	$(BIN)/python -m scripts.make_icons

.PHONY: lighthouse
lighthouse: setup-test ## Look at the pages with Lighthouse as a phone, behind nginx: the median of five runs
	$(BIN)/python -m bench.pages $(LIGHTHOUSE)

.PHONY: bench-sweep
bench-sweep: setup-dev ## Measure the sweep on a throw-away MariaDB with a million orders
	$(BIN)/python -m bench.sweep

.PHONY: bench-history
bench-history: setup-dev ## Measure a page of one's own pictures with 1,000 and 1,000,000 orders
	$(BIN)/python -m bench.history

.PHONY: bench-gallery
bench-gallery: setup-dev ## Measure a page of the gallery with 1,000 and 1,000,000 shares
	$(BIN)/python -m bench.gallery

.PHONY: bench-overview
bench-overview: setup-dev ## Measure the administrators' pages with 1,000 and 1,000,000 orders
	$(BIN)/python -m bench.overview

.PHONY: bench
bench: setup-dev setup-space ## Measure what an order costs beside the painting, in under 15 minutes; CASE=polls measures one case
	@$(BIN)/python -m bench.run $(CASE)

.PHONY: bench-scale
bench-scale: setup-dev ## Measure the same questions with 1,000 and 1,000,000 orders, and with a long queue
	@$(BIN)/python -m bench.scale $(CASE)

.PHONY: bench-painter
bench-painter: setup-dev setup-space ## Measure the painter beside OpenCV's stylization, on one core and on two
	@$(BIN)/python -m bench.painter

.PHONY: soak
soak: setup-dev setup-space ## Use the site for an hour in every way, and see that nothing grows, leaks or is counted wrongly; MINUTES=15
	$(BIN)/python -m bench.soak $(MINUTES:%=--minutes %) $(SOAK)

.PHONY: chaos
chaos: setup-test ## Kill everything in turn under hundreds of orders, and see that nothing is lost (10 minutes)
	$(BIN)/python -m tests.chaos.run $(CHAOS)

.PHONY: setup
setup: setup-app setup-space ## Make the virtual environments that make run needs

.PHONY: setup-test
setup-test: setup-system setup-dev setup-space-dev setup-old-gradio setup-lighthouse ## Make or install everything that make test needs

.PHONY: clean
clean: ## Remove environments and caches; pictures and data under instance/ stay
	rm -rf .venv space/.venv tests/engines/old_gradio/*/.venv .state .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './instance/*' -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- Set-up: each environment is made once for each state of its requirement files ---

.PHONY: setup-app setup-dev setup-space setup-space-dev setup-old-gradio setup-system setup-lighthouse
setup-app:
	@$(SET_UP) .venv requirements.txt
setup-dev:
	@$(SET_UP) .venv requirements-dev.txt requirements.txt
setup-space:
	@$(SET_UP) space/.venv space/requirements.txt
setup-space-dev:
	@$(SET_UP) space/.venv space/requirements-dev.txt space/requirements.txt
setup-old-gradio:
	@$(SET_UP) tests/engines/old_gradio/4/.venv tests/engines/old_gradio/4/requirements.txt
	@$(SET_UP) tests/engines/old_gradio/5/.venv tests/engines/old_gradio/5/requirements.txt
setup-lighthouse: setup-system
	@scripts/setup/node_packages.sh bench/lighthouse
setup-system:
	@scripts/setup/system_packages.sh
