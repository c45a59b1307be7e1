"""The embedded server: shared, stopped by the last, and back on its feet whatever was killed."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from sendplan.io.database.engine import connect
from sendplan.io.embedded_server import file_locks, postmaster, server
from sendplan.io.embedded_server.server import EmbeddedServer, default_data_dir
from sendplan.io.embedded_server.system_user import SystemUser
from sendplan.io.errors import DatabaseError

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")

# Holds the server until its input ends.
COMMAND = """
import sys
from pathlib import Path
from sendplan.io.embedded_server.server import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


class Command:
    """A sendplan command in a process of its own, which uses the server until told to end."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def answers(url: str) -> bool:
    engine = connect(url)
    with engine.connect() as connection:
        alive = connection.scalar(text("SELECT current_database()")) == "sendplan"
    engine.dispose()
    return alive


def server_processes(data_dir: Path) -> list[psutil.Process]:
    folder = str(data_dir.resolve() / "postgres")
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == "postgres" and process.info["cwd"] == folder
    ]


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


@pytest.fixture(scope="module")
def module_data_dir(open_folder: Path) -> Path:
    folder = open_folder / "embedded"
    with EmbeddedServer(folder):
        pass
    return folder


@pytest.fixture
def data_dir(module_data_dir: Path) -> Iterator[Path]:
    """One folder for many tests, as making one takes most of a second."""
    yield module_data_dir
    assert not server_processes(module_data_dir)


def test_serves_a_database_and_stops(data_dir: Path) -> None:
    with EmbeddedServer(data_dir) as server:
        assert answers(server.url)
        assert server_processes(data_dir)
    assert server.url == ""
    assert not server_processes(data_dir)


def test_keeps_the_data(data_dir: Path) -> None:
    for statement in ("CREATE TABLE kept AS SELECT 1 AS number", "DROP TABLE kept"):
        with EmbeddedServer(data_dir) as server:
            engine = connect(server.url)
            with engine.begin() as connection:
                connection.execute(text(statement))
            engine.dispose()


def test_the_last_to_leave_stops_it(data_dir: Path) -> None:
    first = Command(data_dir)
    first.url()
    with EmbeddedServer(data_dir) as second:
        first.end()
        assert answers(second.url)


@pytest.mark.slow
def test_commands_may_race_for_a_fresh_folder(open_folder: Path) -> None:
    fresh = open_folder / "race"
    left_by_a_killed_command = fresh / "postgres-new-half"
    left_by_a_killed_command.mkdir(parents=True)
    commands = [Command(fresh) for _ in range(3)]
    urls = {command.url() for command in commands}
    assert len(urls) == 1
    assert answers(urls.pop())
    for command in commands:
        command.end()
    assert not server_processes(fresh)
    assert not left_by_a_killed_command.exists()


def test_an_error_inside_stops_it_too(data_dir: Path) -> None:
    with pytest.raises(ZeroDivisionError), EmbeddedServer(data_dir):
        raise ZeroDivisionError
    assert not server_processes(data_dir)


def test_a_killed_command_leaves_nothing_that_the_next_one_does_not_mend(data_dir: Path) -> None:
    killed = Command(data_dir)
    killed.url()
    killed.kill()
    assert server_processes(data_dir)
    with EmbeddedServer(data_dir) as server:
        assert answers(server.url)


def test_a_killed_server_is_started_again(data_dir: Path) -> None:
    with EmbeddedServer(data_dir) as first:
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        with EmbeddedServer(data_dir) as second:
            assert answers(second.url)
        assert answers(first.url)


def test_leaving_a_killed_server_is_no_error(data_dir: Path) -> None:
    with EmbeddedServer(data_dir):
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        while server_processes(data_dir):
            time.sleep(0.02)


@pytest.mark.slow
def test_a_foreign_process_under_the_servers_old_id_does_not_matter(data_dir: Path) -> None:
    """After a restart of the machine the id in postmaster.pid may be anybody's, even ours."""
    with EmbeddedServer(data_dir):
        pid_file = data_dir / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        os.kill(int(lines[0]), signal.SIGKILL)
        while server_processes(data_dir):
            time.sleep(0.02)
        pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
        with EmbeddedServer(data_dir) as server:
            assert answers(server.url)


GARBLED = [b"", b"1\n", b"\xff\xfe\n", b"1\n\xff\n0\n5432\n/\0\n", b"\0" * 5000]


@pytest.mark.slow
@pytest.mark.parametrize("content", GARBLED)
def test_a_broken_pid_file_does_not_matter(data_dir: Path, content: bytes) -> None:
    pid_file = data_dir / "postgres" / "postmaster.pid"
    pid_file.write_bytes(content)
    with EmbeddedServer(data_dir) as server:
        assert answers(server.url)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n"])
def test_a_pid_file_garbled_under_a_server_leaves_no_orphan(data_dir: Path, content: bytes) -> None:
    with EmbeddedServer(data_dir) as first:
        (data_dir / "postgres" / "postmaster.pid").write_bytes(content)
        with EmbeddedServer(data_dir) as second:
            assert answers(second.url)
        assert answers(first.url)
    assert not server_processes(data_dir)


@pytest.mark.parametrize("content", [b"", b"\xff\n", b"18; rm\n", "१८\n".encode()])
def test_a_garbled_version_file_is_told(data_dir: Path, content: bytes) -> None:
    marker = data_dir / "postgres" / "PG_VERSION"
    made_by = marker.read_bytes()
    marker.write_bytes(content)
    try:
        with pytest.raises(DatabaseError, match="is damaged: its file PG_VERSION"):
            EmbeddedServer(data_dir).__enter__()
    finally:
        marker.write_bytes(made_by)


@pytest.mark.slow
def test_a_folder_whose_name_is_not_utf_8_works(open_folder: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(open_folder) + b"/caf\xe9"))
    with EmbeddedServer(folder) as server:
        assert answers(server.url)
    assert not server_processes(folder)
    with EmbeddedServer(folder) as server:
        assert answers(server.url)


def test_a_failure_after_the_start_leaves_no_orphan(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C just then, say."""

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server.psycopg2, "connect", interrupted)
    monkeypatch.setattr(postmaster, "_answers", lambda socket_dir: True)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedServer(data_dir).__enter__()
    assert not server_processes(data_dir)


def test_ctrl_c_during_the_start_leaves_no_orphan(data_dir: Path) -> None:
    process = Command(data_dir).process
    deadline = time.monotonic() + 30
    while not server_processes(data_dir) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode
    assert not server_processes(data_dir)


def test_locks_are_for_their_user_alone(data_dir: Path) -> None:
    locks = data_dir / "locks"
    with EmbeddedServer(data_dir):
        assert stat.S_IMODE(locks.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in locks.iterdir()} == {0o600}
    # What an older umask or another hand has left open is shut.
    locks.chmod(0o755)
    (locks / "start.lock").chmod(0o666)
    with EmbeddedServer(data_dir):
        assert stat.S_IMODE(locks.stat().st_mode) == 0o700
        assert stat.S_IMODE((locks / "start.lock").stat().st_mode) == 0o600


def test_waiting_for_a_lock_is_told_after_a_while(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_locks, "TOLD_AFTER", 0.2)
    gate = file_locks.private_file(data_dir / "locks", "start.lock")
    assert file_locks.try_lock(gate)
    with ThreadPoolExecutor(1) as pool:
        entering = pool.submit(EmbeddedServer(data_dir).__enter__)
        while not caplog.messages:
            time.sleep(0.02)
        [told] = caplog.messages
        assert told.startswith("Waiting until another command has started or stopped the server")
        os.close(gate)
        entering.result(timeout=60).__exit__(None, None, None)


@pytest.mark.slow
def test_a_copy_of_a_running_server_is_not_taken_for_it(data_dir: Path, open_folder: Path) -> None:
    copy = open_folder / "copy"
    with EmbeddedServer(data_dir) as original:
        shutil.copytree(
            data_dir,
            copy,
            ignore=lambda folder, names: [name for name in names if name.startswith(".s.PGSQL")],
        )
        if AS_ROOT:
            shutil.chown(copy / "postgres", "sendplan", "sendplan")
            for path in (copy / "postgres").rglob("*"):
                shutil.chown(path, "sendplan", "sendplan")
        (copy / "postgres").chmod(0o700)
        with EmbeddedServer(copy) as copied:
            assert copied.url != original.url
            assert answers(copied.url)
        assert answers(original.url)
    shutil.rmtree(copy)


@pytest.mark.slow
def test_odd_and_long_folder_names(open_folder: Path) -> None:
    folder = open_folder / 'it\'s, $HOME "and" `more`' / ("long" * 30)
    with EmbeddedServer(folder) as server:
        assert answers(server.url)
        socket_dir = Path(server.url.partition("host=")[2].replace("%2F", "/"))
        assert socket_dir.is_dir()
        os.kill(postmaster_pid(folder), signal.SIGKILL)
    with EmbeddedServer(folder) as server:
        assert answers(server.url)
    assert not socket_dir.exists()
    assert not server_processes(folder)


def test_settings_of_libpq_do_not_lead_astray(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PGPORT", "1"), ("PGHOST", "elsewhere"), ("PGDATABASE", "other")):
        monkeypatch.setenv(name, value)
    with EmbeddedServer(data_dir) as server:
        assert answers(server.url)


def test_data_of_another_version_is_refused(data_dir: Path) -> None:
    marker = data_dir / "postgres" / "PG_VERSION"
    made_by = marker.read_text()
    marker.write_text("13\n")
    with (
        pytest.raises(DatabaseError, match=r"made by PostgreSQL 13, but .* --data-dir"),
        EmbeddedServer(data_dir),
    ):
        pass
    marker.write_text(made_by)


def test_a_file_in_the_way_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="name another one with --data-dir"):
        EmbeddedServer(tmp_path / "file" / "data").__enter__()


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    settings = data_dir / "postgres" / "postgresql.auto.conf"
    good = settings.read_text()
    settings.write_text(good + "no_such_setting = 1\n")
    with pytest.raises(DatabaseError, match="no_such_setting"), EmbeddedServer(data_dir):
        pass
    settings.write_text(good)


def test_the_missing_package_is_reported(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postmaster, "find_spec", lambda name: None)
    with pytest.raises(DatabaseError, match="is not installed"), EmbeddedServer(data_dir):
        pass


def test_a_server_that_does_not_answer_is_given_up(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedServer(data_dir):
        monkeypatch.setattr(postmaster, "_answers", lambda socket_dir: False)
        monkeypatch.setattr(postmaster, "START_SECONDS", 0.2)
        with pytest.raises(DatabaseError, match="did not answer"), EmbeddedServer(data_dir):
            pass
        monkeypatch.undo()


def test_a_long_log_is_put_aside(data_dir: Path) -> None:
    log = data_dir / "postgres" / "server.log"
    with log.open("a") as file:
        file.write("x" * postmaster.MAX_LOG_BYTES)
    with EmbeddedServer(data_dir):
        assert log.stat().st_size < postmaster.MAX_LOG_BYTES
    assert log.with_suffix(".log.old").exists()


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_data_dir() == Path("/somewhere/sendplan")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_data_dir() == Path("/home/ada/.local/share/sendplan")
    monkeypatch.setattr(server.os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/sendplan")


def as_ordinary_user(action: Callable[[], None]) -> str:
    """Run `action` as nobody and return what it raised, as text.

    In a fork, not a new interpreter: root's Python may lie where nobody else can read it.
    """
    nobody = pwd.getpwnam("nobody")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        outcome = ""
        try:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            action()
        except BaseException:
            outcome = traceback.format_exc()
        os.write(write, outcome.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        outcome = pipe.read()
    os.waitpid(pid, 0)
    return outcome


@pytest.mark.slow
@needs_root
def test_serves_an_ordinary_user_and_then_root_on_the_same_data(open_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    account = SystemUser("nobody", nobody.pw_uid, nobody.pw_gid)
    if account.barred_from(Path(psutil.__file__).parent):
        pytest.skip("installed where no ordinary user can read it")
    home = open_folder / "nobody"
    home.mkdir()
    shutil.chown(home, "nobody")
    folder = home / "data"

    def use() -> None:
        with EmbeddedServer(folder) as server:
            assert answers(server.url)
        assert not server_processes(folder)

    assert as_ordinary_user(use) == ""
    assert (folder / "postgres").owner() == "nobody"
    # Root takes on the account that owns the data, and leaves nothing that shuts the owner out.
    folder.chmod(0o755)
    with EmbeddedServer(folder) as server:
        assert answers(server.url)
    assert as_ordinary_user(use) == ""


@needs_root
def test_an_ordinary_user_is_told_about_roots_data(data_dir: Path) -> None:
    def use() -> None:
        with EmbeddedServer(data_dir):
            pass

    assert "belongs to another user" in as_ordinary_user(use)


@needs_root
def test_root_is_told_about_a_private_folder_and_it_stays_private() -> None:
    with tempfile.TemporaryDirectory() as private:
        before = Path(private).stat().st_mode
        with (
            pytest.raises(DatabaseError, match=r"cannot enter .*--data-dir"),
            EmbeddedServer(Path(private) / "data"),
        ):
            pass
        assert Path(private).stat().st_mode == before


@needs_root
def test_locks_of_another_user_are_refused(open_folder: Path) -> None:
    folder = open_folder / "shared"
    folder.mkdir()
    (folder / "locks").mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(folder / "locks", nobody.pw_uid, nobody.pw_gid)
    with (
        pytest.raises(DatabaseError, match="locks belongs to another user"),
        EmbeddedServer(folder),
    ):
        pass


@pytest.mark.slow
@needs_root
def test_programs_in_a_private_folder_are_copied(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    barred_from = SystemUser.barred_from

    def bar_the_package(account: SystemUser, path: Path) -> Path | None:
        return path if "site-packages" in path.parts else barred_from(account, path)

    monkeypatch.setattr(SystemUser, "barred_from", bar_the_package)
    programs = open_folder / "programs"
    monkeypatch.setattr(postmaster, "ROOT_DIR", programs)
    folder = open_folder / "copied"
    for _ in range(2):
        with EmbeddedServer(folder) as server:
            assert answers(server.url)
            (copy,) = programs.iterdir()
            assert Path(psutil.Process(postmaster_pid(folder)).exe()).is_relative_to(copy)
    shutil.rmtree(programs)
    rename = Path.rename

    def lose_the_race(half: Path, copy: Path) -> Path:
        shutil.copytree(half, copy)
        return rename(half, copy)

    monkeypatch.setattr(Path, "rename", lose_the_race)
    with EmbeddedServer(folder) as server:
        assert answers(server.url)
    assert len(list(programs.iterdir())) == 1


@needs_root
def test_root_without_useradd_is_told(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sendplan.io.embedded_server.system_user.SYSTEM_USER", "no such user")
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(DatabaseError, match="could not be made"),
        EmbeddedServer(open_folder / "never"),
    ):
        pass
