"""The command line: wires the planner to the database, the files and the terminal.

Libraries load inside the commands that need them, so that every command starts fast.
"""

import datetime as dt
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sendplan import __version__
from sendplan.io.changes.commands import COMMANDS, GROUPS, ChangeCommand
from sendplan.io.changes.option import Option
from sendplan.io.errors import DataError, SendplanError
from sendplan.io.studies.scenario_options import SCENARIO_OPTIONS
from sendplan.planner.problem.parameters import METHODS, Parameters
from sendplan.planner.schema.errors import MethodError
from sendplan.planner.schema.vocabulary import GRACE_SECONDS

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sendplan.planner.plan.plan import Plan

CREW = "sendplan-crew"
"""How the names of threads begin that improve a plan."""

SHOWN_PROBLEMS = 50
"""How many problems of a bad file the terminal spells out."""


@dataclass
class Place:
    """Where the database is, as told before or after the command's name."""

    database_url: str | None = None
    data_dir: Path | None = None


class Moment(click.ParamType[dt.datetime]):
    """An aware point in time."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime:
        """Read ISO 8601 with a UTC offset; naive values are refused."""
        if isinstance(value, dt.datetime):
            return value
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write it like 2026-11-23T02:00:00+00:00", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone; add the UTC offset: {value}+00:00", param, ctx)
        return moment


class Setting(click.ParamType[Any]):
    """The value of a column, read by the contract of its table; `none` where it may be null."""

    name = "value"

    def __init__(self, table: str, column: str) -> None:
        self.table, self.column = table, column

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text; what the column cannot hold is wrong usage."""
        from sendplan.io.changes.values import read_argument

        try:
            return read_argument(self.table, self.column, value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Commands(click.Group):
    """The commands, with errors turned into one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a failure exits with its code (io/README.md, exit codes)."""
        try:
            return super().invoke(ctx)
        except SendplanError as error:
            text = error.report(SHOWN_PROBLEMS) if isinstance(error, DataError) else str(error)
            click.echo(text if error.exit_code == 0 else f"Error: {text}", err=True)
            ctx.exit(error.exit_code)
        except MethodError as error:
            raise click.UsageError(str(error)) from error


def _database_options(*, from_environment: bool) -> Callable[..., Any]:
    """Return the options that name the database; the environment is the group's to read.

    Were it read by the commands too, it would win over an option given before the command's name.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--data-dir",
            type=click.Path(path_type=Path, file_okay=False),
            envvar="SENDPLAN_DATA_DIR" if from_environment else None,
            help="Folder of the embedded PostgreSQL, used when no URL is given.",
        )(command)
        return click.option(
            "--database-url",
            envvar="SENDPLAN_DATABASE_URL" if from_environment else None,
            help="PostgreSQL to work on; without it an embedded one is started.",
        )(command)

    return decorate


def on_database(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command be told where the database is, and pass that on as its first argument."""

    @click.pass_obj
    @wraps(command)
    def placed(
        place: Place, /, database_url: str | None, data_dir: Path | None, **given: Any
    ) -> Any:
        own = Place(database_url or place.database_url, data_dir or place.data_dir)
        return command(own, **given)

    decorated: Callable[..., Any] = _database_options(from_environment=False)(placed)
    return decorated


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _clock() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


_AS_OF = "Replace the clock, such as 2026-11-23T02:00:00+00:00."
as_of_option = click.option("--as-of", type=Moment(), help=_AS_OF)
now_option = click.option("--as-of", "now", type=Moment(), default=_clock, help=_AS_OF)

grace_option = click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=GRACE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long after its slot an email may still leave; the same for dispatch and recalc.",
)
log_option = click.option(
    "--log",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to write the log, on stderr.",
)


def _option(option: Option) -> click.Option:
    kind: Any = click.Path(path_type=Path) if option.is_file else None
    if option.table:
        kind = Setting(option.table, option.column or option.name)
    if option.number is not None:
        kind = click.IntRange(0) if option.number is int else click.FloatRange(0)
    return click.Option(
        [option.flag, option.name],
        type=kind,
        metavar=option.metavar or None,
        help=f"{option.about} Repeatable." if option.repeatable else option.about,
        required=option.required,
        multiple=option.repeatable,
        is_flag=None if option.metavar else True,
    )


@contextmanager
def database(place: Place, *, migrated: bool = True) -> Iterator["Engine"]:
    """Open the database of a place, starting the embedded one if there is none."""
    from sendplan.io.database.embedded import EmbeddedServer
    from sendplan.io.database.engine import connect, require_schema

    url = place.database_url
    server = None if url else EmbeddedServer(place.data_dir)
    try:
        if server is not None:
            url = server.__enter__().url
        engine = connect(url or "")
        try:
            if migrated:
                require_schema(engine)
            yield engine
        finally:
            engine.dispose()
    finally:
        if server is not None:
            server.__exit__(*sys.exc_info())


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@_database_options(from_environment=True)
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context, database_url: str | None, data_dir: Path | None) -> None:
    """Plan multi-step email sequences over the whole horizon.

    \b
    A first tour, on a database of its own:
      sendplan demo
      sendplan status
    """
    ctx.obj = Place(database_url, data_dir)


@main.command()
@on_database
def init(place: Place) -> None:
    """Create the schema, or bring it up to date.

    Safe to run again.

    \b
    Examples:
      sendplan init
      sendplan init --database-url postgresql:///sendplan
    """
    from sendplan.io.database.engine import SCHEMA_VERSION, migrate

    with database(place, migrated=False) as engine:
        migrate(engine)
    click.echo(f"The schema is at version {SCHEMA_VERSION}.")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@as_json
@on_database
def load(place: Place, file: Path, as_json: bool) -> None:
    """Load a campaign FILE: sequences, steps, mailboxes, links.

    It is written in TOML, and loaded whole or not at all. What is there already must be equal, and
    stays.

    \b
    Example:
      sendplan load campaign.toml
    """
    from sendplan.io.campaigns.campaign_file import read_campaign
    from sendplan.io.campaigns.loading import load as load_campaign
    from sendplan.io.console.tables import emit_json
    from sendplan.io.database.engine import translated_errors

    campaign = read_campaign(file)
    with (
        database(place) as engine,
        translated_errors("loading the campaign"),
        engine.connect() as connection,
    ):
        report = load_campaign(connection, campaign)
        connection.commit()
    for warning in report.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if as_json:
        emit_json({**asdict(report), "warnings": [str(warning) for warning in report.warnings]})
        return
    click.echo(
        f"Created {report.sequences} sequences with {report.steps} steps, {report.mailboxes}"
        f" mailboxes and {report.links} links; {report.unchanged_sequences} sequences and"
        f" {report.known_mailboxes} mailboxes were there already."
    )


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sequence", required=True, metavar="NAME", help="Sequence to enrol into.")
@now_option
@as_json
@on_database
def enroll(
    place: Place,
    file: Path,
    sequence: str,
    now: dt.datetime,
    as_json: bool,
) -> None:
    """Enrol the contacts of a CSV FILE into a sequence.

    The file needs a column `email`; `timezone` is optional, and every other column becomes an
    attribute of the contact. Enrolling a file again changes nothing.

    \b
    Example:
      sendplan enroll --sequence "Autumn webinar" contacts.csv
    """
    from sendplan.io.campaigns.contact_list import read_contacts
    from sendplan.io.campaigns.enroll import enroll as enroll_contacts
    from sendplan.io.console.tables import bar, emit_json
    from sendplan.io.database.engine import translated_errors

    contacts = read_contacts(file)
    with (
        database(place) as engine,
        translated_errors("enrolling"),
        engine.connect() as connection,
        bar("Enrolling") as progress,
    ):
        report = enroll_contacts(connection, sequence, contacts, now, progress)
        connection.commit()
    if as_json:
        emit_json(asdict(report))
        return
    skipped = f"{report.already_enrolled:,} were enrolled already"
    if report.suppressed:
        skipped += f", {report.suppressed:,} are suppressed"
    days = f"; first emails from {report.first_day} on" if report.first_day else ""
    click.echo(f"Enrolled {report.enrolled:,} of {report.contacts:,} contacts; {skipped}{days}.")


@main.command()
@now_option
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="TOML file whose table [plan] says how to plan; options given here go before it.",
)
@click.option(
    "--horizon-days",
    type=int,
    metavar="N",
    help="Plan N days ahead at most; by default as far as every email needs.",
)
@click.option(
    "--method",
    metavar="WORD",
    help=f"One of {', '.join(METHODS)}; by default {Parameters.method}.",
)
@click.option(
    "--time-limit",
    type=float,
    metavar="S",
    help="Seconds of work, on one core, for improving the plan;"
    f" by default {Parameters.time_limit:g}.",
)
@click.option(
    "--gap",
    type=float,
    metavar="G",
    help="Stop improving when no plan can be better by more than this part of the cost;"
    f" by default {Parameters.gap:g}.",
)
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Parts planned side by side; the plan does not depend on it."
    f" By default {Parameters.workers}.",
)
@click.option("--seed", type=int, metavar="N", help="Seed of the search; by default 0.")
@click.option(
    "--on-interrupt",
    type=click.Choice(["ask", "store", "discard"]),
    default="ask",
    show_default=True,
    help="What Ctrl-C does with the best plan so far.",
)
@click.option("--dry-run", is_flag=True, help="Plan and check, but store nothing.")
@click.option(
    "--executor",
    metavar="ADDRESS",
    help="Plan the parts on a Dask cluster: dask://HOST:PORT of its scheduler. Its workers need"
    " SENDPLAN_DATABASE_URL in their environment.",
)
@click.option(
    "--part-size",
    type=click.IntRange(1),
    metavar="N",
    help="Active enrollments up to which components that share nothing are planned as one part;"
    " by default 50,000.",
)
@as_json
@on_database
def plan(
    place: Place,
    /,
    now: dt.datetime,
    config: Path | None,
    on_interrupt: str,
    dry_run: bool,
    executor: str | None,
    part_size: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Plan all pending emails and store the slots.

    This is the nightly run.

    \b
    Examples:
      sendplan plan                              improve for 30 seconds of work
      sendplan plan --time-limit 300 --gap 0     as near to the best as it gets
      sendplan plan --method greedy --dry-run    what looking ahead alone gives
    """
    from sendplan.io.planning.settings import read_settings

    settings = read_settings(config) if config else {}
    settings |= {name: value for name, value in given.items() if value is not None}
    parameters = Parameters(**settings)
    with database(place) as engine:
        _plan(
            engine,
            now,
            parameters,
            dry_run=dry_run,
            as_json=as_json,
            on_interrupt=on_interrupt,
            executor=executor,
            part_size=part_size,
        )


def _plan(
    engine: "Engine",
    now: dt.datetime,
    parameters: Parameters,
    *,
    dry_run: bool,
    as_json: bool,
    on_interrupt: str = "ask",
    executor: str | None = None,
    part_size: int | None = None,
) -> None:
    from sendplan.io.console.tables import ask_to_keep, emit_json, planning, show_run
    from sendplan.io.planning.executors import dask_cluster
    from sendplan.io.planning.nightly import run_plan
    from sendplan.io.snapshot.partition import PART_SIZE

    workplace = None if executor is None else dask_cluster(executor)

    def keep(plan: "Plan") -> bool:
        return ask_to_keep(plan) if on_interrupt == "ask" else on_interrupt == "store"

    with planning() as shown:
        run = run_plan(
            engine,
            now,
            parameters,
            dry_run=dry_run,
            workplace=workplace,
            part_size=part_size or PART_SIZE,
            report=shown.phase,
            progress=shown.step,
            done=shown.parts,
            keep=keep,
        )
    if as_json:
        emit_json(run.to_json())
    else:
        show_run(run)
    if run.discarded:
        sys.exit(1)


@main.command()
@click.option("--watch", is_flag=True, help="Stay, and re-plan each change as it comes.")
@as_of_option
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Rows up to which small components are written in one transaction; by default 5,000.",
)
@click.option(
    "--pause",
    type=click.FloatRange(0),
    metavar="S",
    help="Seconds between two batches; by default 0.05.",
)
@click.option(
    "--time-limit",
    type=float,
    metavar="S",
    help="Seconds of work for another plan where a change has made the repaired one much worse, by"
    " component, for three of them at most; by default 1.",
)
@click.option(
    "--change-weight",
    type=float,
    metavar="W",
    help="What moving an email costs, in days of lateness; by default 1.",
)
@click.option("--workers", type=int, metavar="N", help="Parts planned side by side.")
@grace_option
@log_option
@as_json
@on_database
def recalc(
    place: Place,
    /,
    watch: bool,
    as_of: dt.datetime | None,
    batch_size: int | None,
    pause: float | None,
    grace: float,
    log: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Re-plan what has changed, and nothing else.

    Changes of settings, stops and suppressions are queued, whoever makes them, and reach what
    shares mailboxes with them.

    \b
    Examples:
      sendplan recalc                  work off what is queued
      sendplan recalc --watch          stay, and re-plan each change as it comes
    """
    from sendplan.io.console.changes import emit_json_line, show_recalculation
    from sendplan.io.console.tables import emit_json, planning
    from sendplan.io.logs import show_logs
    from sendplan.io.planning.last_plan import recalc_parameters
    from sendplan.io.planning.recalc import DEFAULT_PACE, watch_changes
    from sendplan.io.planning.recalc import recalc as work_off

    known = {name: value for name, value in given.items() if value is not None}
    pace = replace(
        DEFAULT_PACE,
        batch_size=batch_size or DEFAULT_PACE.batch_size,
        pause=DEFAULT_PACE.pause if pause is None else pause,
    )
    show = emit_json_line if as_json else show_recalculation

    def clock() -> dt.datetime:
        return as_of or _clock()

    with database(place) as engine:
        if watch:
            show_logs(sys.stderr, log)
            with _until_told_to_stop() as stopped:
                watch_changes(engine, clock, known, stopped, grace=grace, pace=pace, done=show)
            return
        now = as_of or _clock()
        with planning() as shown:
            done = work_off(
                engine,
                now,
                recalc_parameters(engine, now, known),
                grace=grace,
                pace=pace,
                report=shown.phase,
                progress=shown.step,
            )
    if as_json:
        emit_json(done.to_json())
    else:
        show_recalculation(done)


@main.command()
@click.option(
    "--once",
    is_flag=True,
    help="End when nothing is due any more, but for what waits for its distance to others.",
)
@click.option("--until", type=Moment(), help="End at a time, such as 2026-11-23T18:00:00+00:00.")
@click.option(
    "--transport",
    type=click.Choice(["smtp", "outbox"]),
    help="How messages leave: by SMTP, or as .eml files into a folder. By default smtp, and outbox"
    " where the database holds nothing but the demonstration.",
)
@click.option(
    "--outbox",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("outbox"),
    show_default=True,
    help="Folder for the files of --transport outbox.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Emails sent at a time; by default 32.",
)
@click.option(
    "--lease",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="How long an email may be in hand before others take it for lost; by default 180.",
)
@grace_option
@log_option
@as_of_option
@as_json
@on_database
def dispatch(
    place: Place,
    once: bool,
    until: dt.datetime | None,
    transport: str | None,
    outbox: Path,
    workers: int | None,
    lease: float | None,
    grace: float,
    log: str,
    as_of: dt.datetime | None,
    as_json: bool,
) -> None:
    """Send the emails whose time has come.

    Without --once or --until this goes on until it is told to stop: by SIGTERM or Ctrl-C, after
    the emails that it has in hand. Any number of dispatchers may run beside each other.

    \b
    Examples:
      sendplan dispatch                          send each email at its time
      sendplan dispatch --once                   send what is due now, and end
      sendplan dispatch --transport outbox       write files instead of sending
    """
    from sendplan.io.campaigns.demonstration import contents
    from sendplan.io.console.dispatch import show_dispatched
    from sendplan.io.dispatch.dispatcher import DEFAULT_LEASE, DEFAULT_WORKERS, Settings
    from sendplan.io.dispatch.dispatcher import dispatch as send_due
    from sendplan.io.logs import show_logs

    if as_of is not None and not once:
        raise click.UsageError("--as-of stops the clock, so it needs --once")
    show_logs(sys.stderr, log)
    with database(place) as engine, _until_told_to_stop() as stopped:
        if transport is None:
            transport = "outbox" if contents(engine).demonstration else "smtp"
        settings = Settings(
            outbox=outbox if transport == "outbox" else None,
            workers=workers or DEFAULT_WORKERS,
            lease=dt.timedelta(seconds=lease or DEFAULT_LEASE),
            grace=dt.timedelta(seconds=grace),
            once=once,
            until=until,
        )
        done = send_due(engine, settings, lambda: as_of or _clock(), stopped)
    show_dispatched(done, settings, as_json=as_json)


@main.command()
@as_json
@on_database
def check(place: Place, as_json: bool) -> None:
    """Verify every hard rule on the stored plan.

    Exits with 1 if one is broken.

    \b
    Examples:
      sendplan check
      sendplan check --json    every breach, by rule
    """
    from sendplan.io.console.tables import emit_json, show_findings
    from sendplan.io.planning.check import check as check_plan

    with database(place) as engine:
        findings = check_plan(engine, _clock())
    if as_json:
        emit_json(findings.to_json())
    else:
        show_findings(findings)
    if len(findings.violations):
        sys.exit(1)


@main.command()
@now_option
@as_json
@on_database
def status(
    place: Place,
    now: dt.datetime,
    as_json: bool,
) -> None:
    """Show where the work stands.

    That is what is due, late and sent, the last run, the sequences and the mailboxes.

    \b
    Examples:
      sendplan status
      sendplan status --as-of 2026-11-23T08:00:00+00:00    what is due by then
    """
    from sendplan.io.console.operations import show_status
    from sendplan.io.console.tables import emit_json
    from sendplan.io.operations.status import status as read_status

    with database(place) as engine:
        found = read_status(engine, now)
    if as_json:
        emit_json(asdict(found))
    else:
        show_status(found)


@main.command()
@click.option("--by-mailbox", is_flag=True, help="Tell mailboxes apart; takes far longer.")
@now_option
@as_json
@on_database
def bottlenecks(
    place: Place,
    by_mailbox: bool,
    now: dt.datetime,
    as_json: bool,
) -> None:
    """Say where the stored plan lacks capacity.

    It tells what one more email of capacity would save there. Mailboxes that serve the same
    sequences are one pool. Nothing is changed.

    \b
    Examples:
      sendplan bottlenecks                 pools, the dearest first
      sendplan bottlenecks --by-mailbox    single mailboxes
      sendplan bottlenecks --json          every day and its price
    """
    from sendplan.io.console.bottlenecks import show_bottlenecks
    from sendplan.io.studies.bottlenecks import stored_bottlenecks

    with database(place) as engine:
        found = stored_bottlenecks(engine, now, by_mailbox=by_mailbox)
    show_bottlenecks(found, as_json=as_json)


@main.command()
@click.argument("email_id", type=click.IntRange(1))
@as_of_option
@as_json
@on_database
def explain(
    place: Place,
    email_id: int,
    as_of: dt.datetime | None,
    as_json: bool,
) -> None:
    """Say why an email leaves when it does, or not at all.

    EMAIL_ID is a row of scheduled_emails. Its day, mailbox and minute are explained as of the run
    that gave them, or as of --as-of, beside the other slots as they are now. Nothing is changed.

    \b
    Examples:
      sendplan explain 4711           a few paragraphs
      sendplan explain 4711 --json    all facts
    """
    from sendplan.io.console.explanations import show_explained
    from sendplan.io.studies.explanations import explain_email

    with database(place) as engine:
        found = explain_email(engine, email_id, _clock(), as_of)
    show_explained(found, as_json=as_json)


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE.html",
    help="The page to write; one that is there is replaced.",
)
@now_option
@as_json
@on_database
def report(
    place: Place,
    out: Path,
    now: dt.datetime,
    as_json: bool,
) -> None:
    """Write the stored plan as one page for a browser.

    It shows when the plan ends, loads, progress, delays and bottlenecks, and needs no network.
    Nothing is planned, and nothing is changed.

    \b
    Examples:
      sendplan report --out plan.html
      sendplan report --out plan.html --as-of 2026-11-23T08:00:00+00:00
    """
    from sendplan.io.console.tables import emit_json
    from sendplan.io.report.writing import require_drawing, write_report

    require_drawing()
    with database(place) as engine:
        written = write_report(engine, out, now)
    if as_json:
        emit_json(written.to_json())
    else:
        click.echo(f"Wrote {written.path} ({written.size / 1000:,.0f} kB); open it in a browser.")


@main.command()
@click.option(
    "--max-late",
    type=click.FloatRange(0),
    metavar="S",
    help="Seconds that an email may be late when nothing blocks it; by default 900.",
)
@click.option(
    "--max-plan-age",
    type=click.FloatRange(0),
    metavar="H",
    help="Hours that the last plan may be old while there is work; by default 36.",
)
@click.option("--fail-on-uncertain", is_flag=True, help="Do not only warn of uncertain emails.")
@now_option
@as_json
@on_database
def health(
    place: Place,
    max_late: float | None,
    max_plan_age: float | None,
    fail_on_uncertain: bool,
    now: dt.datetime,
    as_json: bool,
) -> None:
    """Tell a monitor whether the work goes on.

    Exits with 1 if somebody should look. Each finding is one line: what is wrong, and what to do.
    Uncertain emails are a warning, since they wait for an operator and nothing else waits for them.

    \b
    Examples:
      sendplan health
      sendplan health --max-late 1800 --fail-on-uncertain
    """
    from sendplan.io.console.operations import show_health
    from sendplan.io.operations.health import Limits
    from sendplan.io.operations.health import health as look

    limits = Limits(uncertain=not fail_on_uncertain)
    if max_late is not None:
        limits = replace(limits, late=dt.timedelta(seconds=max_late))
    if max_plan_age is not None:
        limits = replace(limits, plan_age=dt.timedelta(hours=max_plan_age))
    with database(place) as engine:
        found = look(engine, now, limits)
    show_health(found, as_json=as_json)
    if not found.fine:
        sys.exit(1)


@main.command()
@click.option("--sent", type=int, multiple=True, metavar="ID", help="It left. Repeatable.")
@click.option(
    "--not-sent", type=int, multiple=True, metavar="ID", help="It did not leave. Repeatable."
)
@click.option("--at", type=Moment(), help="When those that left did; by default at their slots.")
@as_json
@on_database
def uncertain(
    place: Place,
    sent: tuple[int, ...],
    not_sent: tuple[int, ...],
    at: dt.datetime | None,
    as_json: bool,
) -> None:
    """List emails that may have left or not, or resolve them.

    Look for the Message-ID in the mailbox's folder of sent messages. One that was sent counts as
    any other; one that was not is planned again.

    \b
    Examples:
      sendplan uncertain                             list them
      sendplan uncertain --sent 17 --not-sent 23     decide; all of them, or none
    """
    from sendplan.io.console.operations import show_resolved, show_uncertain
    from sendplan.io.operations.uncertain import resolve, uncertain_emails

    if at is not None and not sent:
        raise click.UsageError("--at says when emails left, so it needs --sent")
    with database(place) as engine:
        if not sent and not not_sent:
            show_uncertain(uncertain_emails(engine), as_json=as_json)
            return
        resolve(engine, sent, not_sent, _clock(), at=at)
    show_resolved(sent, not_sent, as_json=as_json)


@main.command("what-if")
@click.option(
    "--scenarios",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file of several named scenarios, under the names of these options.",
)
@click.option(
    "--method",
    default="greedy",
    show_default=True,
    metavar="WORD",
    help=f"How to plan, one of {', '.join(METHODS)}.",
)
@click.option(
    "--time-limit",
    type=float,
    metavar="S",
    help="Seconds of work for improving each plan, if the method does.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Scenarios planned at once; by default 2.",
)
@now_option
@as_json
@on_database
def what_if(
    place: Place,
    /,
    scenarios: Path | None,
    method: str,
    time_limit: float | None,
    workers: int | None,
    now: dt.datetime,
    as_json: bool,
    **given: Any,
) -> None:
    """Show what the plan would be if things were otherwise.

    Nothing is changed. Everything that is given makes one scenario; --scenarios compares several.

    \b
    Examples:
      sendplan what-if --add-mailboxes 10 --capacity 60
      sendplan what-if --wait Dentists:2=3 --days-off 2026-12-24..2026-12-31
      sendplan what-if --arrivals Dentists=50x20 --scale-capacity 1.2
      sendplan what-if --scenarios winter.toml --method auto
    """
    from sendplan.io.console.studies import show_comparison
    from sendplan.io.console.tables import bar, emit_json
    from sendplan.io.studies.scenarios import read_scenarios
    from sendplan.io.studies.studies import comparison_json
    from sendplan.io.studies.studies import what_if as study

    wanted = read_scenarios(scenarios) if scenarios else {}
    if any(value not in (None, ()) for value in given.values()):
        wanted = {"changed": given, **wanted}
    if not wanted:
        raise click.UsageError("nothing is to be otherwise; give --add-mailboxes or another option")
    how = {"method": method} | ({} if time_limit is None else {"time_limit": time_limit})
    planned = 0
    with database(place) as engine, bar("Planning") as progress:

        def done(_name: str) -> None:
            nonlocal planned
            planned += 1
            progress(planned, len(wanted) + 1)

        workers = workers or Parameters.workers
        found = study(engine, wanted, now, how, workers=workers, done=done)
    if as_json:
        emit_json(comparison_json(found))
    else:
        show_comparison(found)


what_if.params[:0] = map(_option, SCENARIO_OPTIONS)


@main.command()
@click.option(
    "--finish-by",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    metavar="DATE",
    help="The day by which every email must have left.",
)
@click.option(
    "--max-late",
    type=click.IntRange(0),
    metavar="N",
    help="So many follow-ups may be late; without it that does not matter.",
)
@click.option(
    "--of",
    type=click.Choice(["mailboxes", "capacity"]),
    default="mailboxes",
    show_default=True,
    help="Look for the fewest new mailboxes, or for the least capacity of those that are there.",
)
@click.option(
    "--capacity",
    type=click.IntRange(1),
    metavar="C",
    help="Emails a day of each new mailbox; by default the median of the mailboxes.",
)
@click.option(
    "--method",
    default="greedy",
    show_default=True,
    metavar="WORD",
    help=f"How to plan, one of {', '.join(METHODS)}.",
)
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Plans made at once; by default 2."
)
@now_option
@as_json
@on_database
def capacity(
    place: Place,
    finish_by: dt.datetime,
    max_late: int | None,
    of: str,
    capacity: int | None,
    method: str,
    workers: int | None,
    now: dt.datetime,
    as_json: bool,
) -> None:
    """Find the capacity with which everything has left by a day.

    Nothing is changed. Plans show what is enough, and a bound shows what certainly is not.

    \b
    Examples:
      sendplan capacity --finish-by 2026-12-31
      sendplan capacity --finish-by 2026-12-31 --max-late 100 --capacity 60
      sendplan capacity --finish-by 2026-12-31 --of capacity
    """
    from sendplan.io.console.studies import show_capacity
    from sendplan.io.console.tables import emit_json, phases
    from sendplan.io.studies.studies import capacity as study
    from sendplan.io.studies.studies import capacity_json

    if capacity is not None and of == "capacity":
        raise click.UsageError("--capacity is about new mailboxes, so it needs --of mailboxes")
    with database(place) as engine, phases() as report:
        found = study(
            engine,
            finish_by.date(),
            now,
            of=of,
            max_late=max_late,
            daily_capacity=capacity,
            method=method,
            workers=workers or Parameters.workers,
            told=report,
        )
    if as_json:
        emit_json(capacity_json(found))
    else:
        show_capacity(found)


@main.command()
@click.option("--contacts", type=click.IntRange(1), default=50_000, show_default=True)
@click.option("--mailboxes", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@now_option
@as_json
@on_database
def demo(
    place: Place,
    contacts: int,
    mailboxes: int,
    seed: int,
    now: dt.datetime,
    as_json: bool,
) -> None:
    """Fill the database with a realistic instance and plan it.

    Run again, it plans what is there already.

    \b
    Examples:
      sendplan demo
      sendplan demo --contacts 2000 --mailboxes 10
    """
    from sendplan.io.campaigns.demo import fill, is_filled
    from sendplan.io.console.tables import phases, say
    from sendplan.io.database.engine import migrate
    from sendplan.planner.synthetic.instances import reference

    with database(place, migrated=False) as engine:
        migrate(engine)
        if is_filled(engine):
            say("The database holds a demonstration already; planning it again.")
        else:
            with phases() as report:
                report(f"Making up {contacts:,} contacts and {mailboxes:,} mailboxes")
                frames = reference(contacts, mailboxes, seed=seed, now=now, provisional=True)
                fill(engine, frames, lambda table: report(f"Filling {table}"))
        _plan(engine, now, Parameters(), dry_run=False, as_json=as_json)


preview_option = click.option(
    "--preview", is_flag=True, help="Show what the plan would become, and change nothing."
)


def _example(*commands: ChangeCommand) -> str:
    calls = (f"  sendplan {each.group} {each.name} {each.example}" for each in commands)
    return "\n".join(["\n\n\b", "Examples:" if len(commands) > 1 else "Example:", *calls])


def _group(name: str, about: str) -> click.Group:
    examples = _example(*[command for command in COMMANDS if command.group == name])

    @main.group(name, help=about + examples)
    @on_database
    def group(place: Place) -> None:
        click.get_current_context().obj = place

    return group


def _change_command(declared: ChangeCommand) -> click.Command:
    """Make a command of its declaration."""

    @preview_option
    @now_option
    @as_json
    @on_database
    def change(
        place: Place,
        /,
        preview: bool,
        now: dt.datetime,
        as_json: bool,
        **given: Any,
    ) -> None:
        for check in declared.checks:
            if fault := check(given, preview):
                raise click.UsageError(fault)
        with database(place) as engine:
            _change(engine, now, declared, given, preview=preview, as_json=as_json)

    command = click.command(declared.name, help=declared.about + _example(declared))(change)
    own: list[click.Parameter] = [_option(option) for option in declared.options]
    if name := declared.argument:
        own.insert(0, click.Argument([name.strip("[]")], required=not name.startswith("[")))
    command.params[:0] = own
    return command


def _change(
    engine: "Engine",
    now: dt.datetime,
    command: ChangeCommand,
    given: dict[str, Any],
    *,
    preview: bool,
    as_json: bool,
) -> None:
    """Make the changes that a command asks for, all or none, or show what they would do."""
    from sendplan.io.changes.apply import apply, sentence, summary, translated_faults
    from sendplan.io.changes.from_options import wanted_changes
    from sendplan.io.console.tables import emit_json
    from sendplan.io.database.engine import translated_errors

    doing = translated_errors("making the change")
    with translated_faults(), doing, engine.connect() as connection:
        changes = wanted_changes(connection, command.group, command.name, given)
        done = [] if preview else [apply(connection, change, now) for change in changes]
        connection.commit()
    if preview:
        from sendplan.io.console.changes import show_preview
        from sendplan.io.planning.last_plan import recalc_parameters
        from sendplan.io.planning.preview import preview as look_ahead

        with translated_faults():
            found = look_ahead(engine, changes, now, recalc_parameters(engine, now))
        emit_json(found.to_json()) if as_json else show_preview(found)
    elif as_json:
        emit_json(summary(f"{command.group} {command.name}", done))
    else:
        click.echo(sentence(done))


_groups = {name: _group(name, about) for name, about in GROUPS.items()}
for _declared in COMMANDS:
    _groups[_declared.group].add_command(_change_command(_declared))


@contextmanager
def _until_told_to_stop() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM and Ctrl-C end a command that stays, after what it has in hand."""
    told = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: told.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield told.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run() -> None:
    """Run the command line as a program of its own.

    A solver that Ctrl-C has overtaken cannot be called off; the program does not wait for it.
    """
    code: int | str | None = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    if any(thread.name.startswith(CREW) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)
    sys.exit(code)
