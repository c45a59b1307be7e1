"""Planning part by part on a real Dask cluster: a scheduler and workers of this machine."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, make_url, text

from sendplan.cli import main
from sendplan.io.database.engine import connect
from sendplan.io.errors import DatabaseError
from sendplan.io.planning import executors
from sendplan.io.planning.executors import Workplace
from sendplan.io.planning.nightly import run_plan
from sendplan.io.planning.part_planning import DATABASE_VARIABLE, PartJob
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases.nightly_runs import IS_BLOCKED, command, wait_until
from sendplan.tests.worlds.databases.partitioned import (
    NOW,
    SIZE,
    fill,
    held,
    here,
    parts_published,
    rows,
    run_sql,
    sound,
    stored,
)

GREEDY = Parameters(method="greedy")
PASSWORD = "correct-horse"
"""Of the database; the server of these tests asks for none, and lets any pass."""

PLAN = ("plan", "--as-of", NOW.isoformat(), "--method", "greedy", "--part-size", str(SIZE))


def secret(url: str, **query: str) -> str:
    """Give a database's URL with a password, and with settings of the session."""
    made = make_url(url).set(password=PASSWORD)
    made = made.set(username=made.username or "postgres").update_query_dict(query)
    return made.render_as_string(hide_password=False)


@pytest.fixture
def four(module_database_url: str) -> Iterator[Engine]:
    """A database of four parts."""
    engine = connect(module_database_url)
    fill(engine)
    yield engine
    engine.dispose()


class Cluster:
    """A scheduler and its workers, each with a log of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._start("scheduler", "--port", "0", "--scheduler-file", str(self.file))
        self._until(lambda: self.file.exists() and self.file.read_text().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"].replace("tcp", "dask")

    def _start(self, name: str, *arguments: str, **variables: str) -> None:
        kind = "scheduler" if name == "scheduler" else "worker"
        own = {key: value for key, value in os.environ.items() if not key.startswith("SENDPLAN_")}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [
                    *(sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments),
                    *("--host", "127.0.0.1", "--no-dashboard"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=own | {"PYTHONSAFEPATH": "1"} | variables,
                cwd=self.folder,
            )

    def _until(self, happened: Any) -> None:
        deadline = time.monotonic() + 60
        while not happened():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.02)

    @contextmanager
    def workers(self, **urls: str) -> Iterator[None]:
        """Have workers that know a database each, by their names."""
        for name, url in urls.items():
            self._start(
                name,
                *("--scheduler-file", str(self.file), "--no-nanny", "--nthreads", "1"),
                *("--name", name, "--local-directory", str(self.folder)),
                **{DATABASE_VARIABLE: url},
            )
        try:
            for name in urls:
                log = self.folder / f"{name}.log"
                self._until(lambda log=log: "Registered to" in log.read_text())
            yield
        finally:
            for name in urls:
                self.end(name)

    def end(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self.processes.pop(name, None)
        if process is not None:
            process.send_signal(how)
            process.wait(timeout=60)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    yield cluster
    for name in list(cluster.processes):
        cluster.end(name)


def expected(engine: Engine) -> tuple[list[Any], dict[str, Any]]:
    """Give what a run at once stores and prints."""
    fill(engine)
    printed = run_plan(engine, NOW, GREEDY).to_json()
    found = stored(engine)
    fill(engine)
    return found, {name: printed[name] for name in printed if name != "seconds"}


def planned_on(cluster: Cluster, url: str) -> Any:
    return command(secret(url), *PLAN, "--json", "--executor", cluster.address)


# ---------------------------------------------------------------- a cluster at work


@pytest.mark.slow
def test_a_cluster_stores_what_is_stored_at_once(
    four: Engine, module_database_url: str, cluster: Cluster
) -> None:
    plan, printed = expected(four)
    with (
        cluster.workers(ann=secret(module_database_url), bob=secret(module_database_url)),
        planned_on(cluster, module_database_url) as process,
    ):
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert stored(four) == plan
    assert parts_published(four) == [1, 2, 3, 4]
    said = json.loads(out)
    assert {name: said[name] for name in said if name != "seconds"} == printed
    assert PASSWORD not in out + err + cluster.logs()


@pytest.mark.slow
def test_a_worker_killed_while_it_publishes_a_part(
    four: Engine, module_database_url: str, cluster: Cluster
) -> None:
    """The other one gets the part, and waits until what the first had begun is undone."""
    plan, printed = expected(four)
    urls = {name: secret(module_database_url, application_name=name) for name in ("carla", "dora")}
    with (
        held(four, 2, at_commit=False) as let_go,
        four.connect() as watcher,
        cluster.workers(**urls),
        planned_on(cluster, module_database_url) as process,
    ):
        holding = wait_until(watcher, IS_BLOCKED)
        query = "SELECT application_name FROM pg_stat_activity WHERE pid = :pid"
        name = watcher.scalar(text(query), {"pid": holding})
        watcher.rollback()
        assert name in urls
        cluster.end(name)
        wait_until(watcher, f"{IS_BLOCKED} AND pid <> {holding}")
        let_go()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert stored(four) == plan
    assert parts_published(four) == [1, 2, 3, 4]
    said = json.loads(out)
    assert {name: said[name] for name in said if name != "seconds"} == printed
    assert sound(four)


@pytest.mark.slow
def test_a_worker_with_another_database_plans_nothing(
    four: Engine, module_database_url: str, database_url: str, cluster: Cluster
) -> None:
    other = connect(database_url)
    run_sql(other, "UPDATE installation SET id = gen_random_uuid()")
    fill(other)
    with (
        cluster.workers(eve=secret(database_url)),
        planned_on(cluster, module_database_url) as process,
    ):
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (DatabaseError.exit_code, "")
    assert f"{DATABASE_VARIABLE} of a worker names another database" in err
    assert "Traceback" not in err
    for engine in (four, other):
        assert stored(engine) == []
        assert parts_published(engine) == []
    assert rows(other, "SELECT FROM plan_runs") == []
    other.dispose()


# ---------------------------------------------------------------- no cluster


def told(*arguments: str, url: str) -> Any:
    return CliRunner().invoke(main, [*PLAN, *arguments], env={"SENDPLAN_DATABASE_URL": url})


def test_no_scheduler_at_the_address_is_said_in_one_message(
    four: Engine, module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 0.5)
    result = told("--executor", "dask://127.0.0.1:9", url=module_database_url)
    assert result.exit_code == 1
    [error] = [line for line in result.stderr.splitlines() if "Error" in line]
    assert error.startswith("Error: The Dask scheduler at 127.0.0.1:9 does not answer")
    assert result.stdout == ""
    assert stored(four) == []
    assert rows(four, "SELECT finished_at, publishing FROM plan_runs") == [(None, False)]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8786",
        "tcp://127.0.0.1:8786",
        "dask://127.0.0.1",
        "dask://:8786",
        "dask://127.0.0.1:port",
        "dask://127.0.0.1:99999",
        "dask://127.0.0.1:8786/there",
        "dask://[::1:8786",
        "dask://ann:pass@127.0.0.1:8786",
        "",
    ],
)
def test_a_bad_address_is_a_mistake_of_usage(
    four: Engine, module_database_url: str, address: str
) -> None:
    result = told("--executor", address, url=module_database_url)
    assert result.exit_code == 2
    assert "dask://HOST:PORT" in result.stderr
    assert rows(four, "SELECT FROM plan_runs") == []


def test_without_dask_it_is_said_what_is_missing(
    four: Engine, module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = told("--executor", "dask://127.0.0.1:9", url=module_database_url)
    assert result.exit_code == 2
    assert "pip install 'sendplan[dask]'" in result.stderr


# ---------------------------------------------------------------- what is sent


def far(given: list[Any]) -> Workplace:
    """Give a workplace in this process that is told what a cluster is told."""
    return Workplace(here(given=given).open, near=False)


@pytest.mark.slow
def test_no_password_is_sent_to_a_cluster(
    four: Engine, module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = secret(module_database_url)
    monkeypatch.setenv(DATABASE_VARIABLE, url)
    engine = connect(url)
    given: list[PartJob] = []
    run_plan(engine, NOW, GREEDY, workplace=far(given), part_size=SIZE)
    assert len(given) == 4
    for job in given:
        assert job.url is None
        assert PASSWORD.encode() not in pickle.dumps(job)
    # Those beside us get it, and do not show it.
    run_plan(engine, NOW, GREEDY, workplace=here(given=given), part_size=SIZE)
    assert given[-1].url == engine.url.render_as_string(hide_password=False)
    assert PASSWORD not in repr(given[-1])
    engine.dispose()


def test_a_worker_that_was_told_of_no_database_says_so(
    four: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    with pytest.raises(DatabaseError, match=f"has no {DATABASE_VARIABLE}; set it"):
        run_plan(four, NOW, GREEDY, workplace=far([]), part_size=SIZE)
    assert stored(four) == []
