# The two commands that matter: `make demo` shows the planner at work, `make test` passes the tests.
# Both set up what they need, in .venv.

PYTHON ?= python3
BIN := .venv/bin
# Much of the live tests is waiting: more of them at a time than there are cores.
WORKERS ?= 4

.PHONY: help demo test check format tests servers docs lock benchmarks clean

help:
	@echo "make demo        watch the planner drive an embedded deployment, without installing anything else"
	@echo "make test        lint, types, import contracts and every test"
	@echo "make docs        generate the reference pages anew"
	@echo "make benchmarks  start-up, memory and tick; profile and forecast accuracy; simulator; clients of virtual mode"
	@echo "make lock        resolve the dependencies anew"

.venv/.runtime: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

demo: .venv/.runtime
	$(BIN)/python -m planner demo

test: check tests

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: .venv/.dev servers
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Servers for the live tests, and helm; without root they must be there already, or those tests are skipped.
servers: .venv/.dev
	@sh tests/install-servers.sh
	@$(BIN)/python tests/install_helm.py .venv/tools

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/.runtime
	$(BIN)/python -m planner.reference

benchmarks: .venv/.dev
	$(BIN)/python benchmarks/footprint.py
	$(BIN)/python benchmarks/profile_holdout.py
	$(BIN)/python benchmarks/forecast_error.py
	$(BIN)/python benchmarks/simulator.py
	$(BIN)/python benchmarks/virtual_clients.py
	$(BIN)/python benchmarks/dashboard.py

lock: .venv/.dev
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--extra dev --output-file requirements-dev.lock --constraint requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--extra aic --output-file requirements-aic.lock --constraint requirements-dev.lock pyproject.toml

clean:
	rm -rf .venv demo-output
