# Two commands do all the set-up: "make demo" shows Corral, "make test" checks it.

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q

.PHONY: demo venv test quick lint types bench check-datamodel clean

demo: venv
	@$(BIN)/python -m tools.demo

venv: $(VENV)/ready

# One mark for "everything in setup.cfg is installed"; a change there installs again.
$(VENV)/ready: setup.cfg setup.py constraints.txt
	@tools/make-venv $(VENV)
	@touch $@

test: venv
	$(BIN)/python -m tools.servers -- $(PYTEST) -n 2 --dist worksteal tests

quick: venv
	$(PYTEST) -n 2 --dist worksteal tests/unit

lint: venv
	$(BIN)/ruff check .
	$(PYTEST) tests/unit/test_import_rules.py

types: venv
	$(BIN)/mypy

bench: venv
	@$(BIN)/python -m tools.bench

check-datamodel: venv
	@$(BIN)/python -m agent.simulator.check_datamodel $(FILE)

clean:
	rm -rf $(VENV) build corral-state *.egg-info
