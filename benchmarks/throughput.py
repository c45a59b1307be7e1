"""How fast a dispatcher sends, beside a loop of smtplib that does nothing but send."""

import datetime as dt
import smtplib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from statistics import median

import psycopg2

from sendplan.benchmarks.due_emails import (
    CONTENT,
    FOLLOW_UPS,
    LATE_ENOUGH,
    PLANNED,
    SUBJECT,
    administer,
    database,
    fill,
    plan,
    rows,
    run,
)
from sendplan.benchmarks.results import table
from sendplan.benchmarks.scratch import libpq
from sendplan.benchmarks.sinks import HOST, native_sink, postfix_sink, python_sink
from sendplan.io.messages.composing import Texts, compose
from sendplan.io.messages.outcomes import Message

# All within the last minute, so that order matters and nothing is overdue.
DUE = f"""
{PLANNED} SELECT id, sequence_id, 1 + id %% %(mailboxes)s, %(day)s,
    now() - interval '1 minute' + id * interval '1 millisecond', 1
FROM enrollments
"""
SENT = """
SELECT count(*) FILTER (WHERE status = 'sent'),
       extract(epoch FROM max(sent_at) - min(sent_at))::float8
FROM scheduled_emails
"""

Sink = Callable[[], AbstractContextManager[int]]


@dataclass
class Rates:
    """Emails a second of some runs, each beside one of the bare loop."""

    sink: str
    mailboxes: int
    bare: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    steady: list[float] = field(default_factory=list)


def sinks() -> dict[str, Sink]:
    """Return the sinks that can be had here."""
    found: dict[str, Sink] = {"aiosmtpd": python_sink}
    command = native_sink()
    if command is not None:
        found["smtp-sink"] = lambda: postfix_sink(command)
    return found


def measure(
    server: str, emails: int, mailboxes: Sequence[int], runs: int, say: Callable[[str], None]
) -> list[Rates]:
    """Send the same emails by turns with a bare loop and a dispatcher.

    Parameters
    ----------
    server
        Where databases may be made.
    emails
        How many, all due at once.
    mailboxes
        Numbers of mailboxes, each with as many workers, and connections of the loop.
    runs
        Of each, on each sink.
    say
        Told of the progress.
    """
    found = []
    for count in mailboxes:
        with database(server, "throughput_base") as base:
            fill(base, emails, count)
            plan(base, DUE, FOLLOW_UPS, mailboxes=count)
            administer(server, "CHECKPOINT")
            shares = [list(_messages(number, emails, count)) for number in range(count)]
            for name, sink in sinks().items():
                rates = Rates(name, count)
                found.append(rates)
                for _ in range(runs):
                    with sink() as port:
                        rates.bare.append(emails / _bare(port, shares))
                        _dispatch(server, port, emails, rates)
                    say(
                        f"throughput: {count} mailboxes, {name}: {rates.bare[-1]:,.0f}/s bare,"
                        f" {rates.whole[-1]:,.0f}/s dispatched, {rates.steady[-1]:,.0f}/s steadily"
                    )
    return found


def _dispatch(server: str, port: int, emails: int, rates: Rates) -> None:
    with database(server, "throughput", template="throughput_base") as url:
        options = ["--workers", str(rates.mailboxes), "--grace", str(LATE_ENOUGH)]
        began = time.perf_counter()
        run(url, port, "--once", *options)
        rates.whole.append(emails / (time.perf_counter() - began))
        with closing(psycopg2.connect(libpq(url))) as session:
            ((sent, seconds),) = rows(session, SENT)
    if sent != emails:
        raise RuntimeError(f"{sent:,} emails of {emails:,} were sent")
    rates.steady.append((emails - 1) / seconds)


def _messages(mailbox: int, emails: int, mailboxes: int) -> Iterator[Message]:
    """Write the very messages that a mailbox's dispatcher writes, but for their ids and dates."""
    for key in range(1, emails + 1):
        if key % mailboxes == mailbox:
            texts = Texts(
                enrollment_id=key,
                step_id=1,
                sender=f"box{1 + mailbox}@sender.example",
                recipient=f"contact{key}@receiver.example",
                subject=SUBJECT,
                content=CONTENT,
                first_subject=None,
                attributes={"name": f"Contact {key}"},
            )
            yield compose(texts, uuid.UUID(int=0), dt.datetime.now(dt.UTC))


def _bare(port: int, shares: Sequence[Sequence[Message]]) -> float:
    """Send with a connection and a thread for each share, and return the seconds."""

    def send(messages: Sequence[Message]) -> None:
        try:
            with smtplib.SMTP(HOST, port) as connection:
                for message in messages:
                    connection.sendmail(message.sender, [message.recipient], message.data)
        except OSError as error:
            failed.append(error)

    failed: list[OSError] = []
    threads = [threading.Thread(target=send, args=(share,), daemon=True) for share in shares]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return time.perf_counter() - began


def report(measured: Sequence[Rates], emails: int) -> list[str]:
    """Write the measurements down as paragraphs of Markdown."""
    lines = [
        [
            rates.sink,
            str(rates.mailboxes),
            *(f"{median(values):,.0f}" for values in (rates.bare, rates.whole, rates.steady)),
            *(
                f"{median(a / b for a, b in zip(values, rates.bare, strict=True)):.2f}"
                for values in (rates.whole, rates.steady)
            ),
        ]
        for rates in measured
    ]
    return [
        f"Emails a second, {emails:,} emails due at once: one `sendplan dispatch --once` with as"
        " many workers as mailboxes, beside as many threads with a connection of smtplib each that"
        " do nothing but send the same messages to the same server, by turns; medians of"
        f" {len(measured[0].bare)} runs. Whole: from the start of the process to its end; steady:"
        " from the first acceptance to the last. The sinks are processes of their own on the same"
        " machine; `smtp-sink` is Postfix' own, in C.",
        table(
            ["sink", "mailboxes", "bare", "whole", "steady", "whole / bare", "steady / bare"],
            lines,
        ),
    ]
