"""One run against a real Postfix, which delivers into a Maildir while dispatchers are killed.

It needs root and Debian's postfix, so it is no part of the suite: `make test-mail` runs it.
"""

import contextlib
import email
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sendplan.tests.worlds.dispatching.world import DispatchWorld, until

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {folder}
maillog_file = {folder}/log
myhostname = postfix.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =
virtual_mailbox_domains = receiver.test
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = regexp:{folder}/config/known
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""

MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup    unix  n - n - 0 cleanup
qmgr       unix  n - n 300 1 qmgr
rewrite    unix  - - n - - trivial-rewrite
bounce     unix  - - n - 0 bounce
defer      unix  - - n - 0 bounce
trace      unix  - - n - 0 bounce
proxymap   unix  - - n - - proxymap
anvil      unix  - - n - 1 anvil
error      unix  - - n - - error
retry      unix  - - n - - error
virtual    unix  - n n - - virtual
postlog    unix-dgram n - n - 1 postlogd
"""


@pytest.fixture
def world(engine: Engine, database_url: str) -> Iterator[DispatchWorld]:
    with DispatchWorld(engine, database_url) as made:
        yield made


class Postfix:
    """A Postfix of its own, with its own queue, log and Maildir."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        nobody = pwd.getpwnam("nobody")
        for name in ("config", "data", "spool", "mail"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
        main = MAIN.format(folder=folder, uid=nobody.pw_uid, gid=nobody.pw_gid)
        (folder / "config" / "main.cf").write_text(main)
        (folder / "config" / "known").write_text("/^c[0-9]+@receiver/ all/\n")
        (folder / "config" / "master.cf").write_text(MASTER.format(port=self.port))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self._command("start")
        try:
            until(self._listens)
            yield
        finally:
            self._command("stop")

    def _command(self, word: str) -> None:
        command = ["postfix", "-c", str(self.folder / "config"), word]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + self.log()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        return False

    def delivered(self) -> list[Path]:
        return list((self.folder / "mail" / "all" / "new").glob("*"))

    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text() if file.exists() else "it has not written any log"


@pytest.fixture
def server() -> Iterator[Postfix]:
    # Not pytest's folder, which nobody but root may enter.
    folder = Path(tempfile.mkdtemp(prefix="sendplan-postfix-"))
    folder.chmod(0o755)
    made = Postfix(folder)
    try:
        with made.running():
            yield made
    finally:
        shutil.rmtree(folder)


def test_what_postfix_delivers_is_what_the_tables_say_however_often_dispatchers_are_killed(
    world: DispatchWorld, server: Postfix
) -> None:
    """400 emails from 4 mailboxes and one to nobody, by two dispatchers of which eight are killed.

    Each accepted Message-ID is delivered once, is sent or uncertain, and no other was sent.
    """
    world.sequence()
    for key in range(1, 5):
        world.environment[f"SMTP_{key}"] = f"smtp://127.0.0.1:{server.port}"
        world.mailbox(key, capacity=101).emails(range(100 * key, 100 * key + 100), mailbox=key)
    world.enroll(1).email(1)
    world.run("UPDATE contacts SET email = 'who@receiver.test' WHERE id = 1")
    running = [world.dispatch("--lease", "3"), world.dispatch("--lease", "3")]
    try:
        for number in range(1, 9):
            until(lambda least=40 * number: len(server.delivered()) >= least)  # type: ignore[misc]
            running.pop(0).kill()
            running.append(world.dispatch("--lease", "3"))
        until(lambda: world.states()["sent"] + world.states()["uncertain"] == 400)
        assert [process.end() for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    # Postfix: “550 5.1.1 … Recipient address rejected: User unknown in virtual mailbox table”.
    assert world.state(1)[0] == "failed"
    assert world.value("contacts", 1, "suppressed_reason") == "bounced"

    rows = world.run(
        """SELECT message_id, email.status, contacts.email AS recipient, mailboxes.email AS sender
           FROM scheduled_emails AS email JOIN enrollments ON enrollments.id = enrollment_id
           JOIN contacts ON contacts.id = contact_id
           JOIN mailboxes ON mailboxes.id = email.mailbox_id
           WHERE email.status IN ('sent', 'uncertain')"""
    )
    known = {row.message_id: row for row in rows}
    sent = {row.message_id for row in rows if row.status == "sent"}
    assert len(known) == 400
    # What was in hand when its dispatcher died is uncertain; most was not.
    assert len(sent) >= 100
    until(lambda: len(server.delivered()) >= len(sent))
    settled(server)
    messages = [email.message_from_bytes(path.read_bytes()) for path in server.delivered()]
    counted = Counter(str(message["Message-ID"]) for message in messages)
    assert max(counted.values()) == 1
    assert sent <= counted.keys() <= known.keys()
    for message in messages:
        row = known[str(message["Message-ID"])]
        assert (message["Return-Path"], message["Delivered-To"]) == (
            f"<{row.sender}>",
            row.recipient,
        )


def settled(server: Postfix) -> None:
    """Wait until Postfix has delivered all that it has accepted."""
    queue = [server.folder / "spool" / name for name in ("incoming", "active", "deferred")]
    until(lambda: not any(path.is_file() for folder in queue for path in folder.rglob("*")))
