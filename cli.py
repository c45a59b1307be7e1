"""The command line: wires the planner to the database, the files and the terminal.

The packages of `sendplan.io` declare the commands; the functions here run them. A new command is a
declaration there and a function here. Libraries load inside the commands that need them, so that
every command starts fast.
"""

import datetime as dt
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sendplan import __version__
from sendplan.io.campaigns.commands import DEMO, ENROLL, LOAD
from sendplan.io.changes.commands import COMMANDS, GROUPS
from sendplan.io.commands.command import Command, Section
from sendplan.io.commands.option import LARGEST, LARGEST_ID, Option, clock
from sendplan.io.database.commands import DATABASE, INIT
from sendplan.io.dispatch.commands import DISPATCH
from sendplan.io.errors import DataError, SendplanError
from sendplan.io.operations.commands import HEALTH, STATUS, UNCERTAIN
from sendplan.io.planning.commands import CHECK, PLAN, RECALC
from sendplan.io.redaction import printable, redacted
from sendplan.io.report.commands import REPORT
from sendplan.io.streams import StreamError, complain, tell, tolerant_streams
from sendplan.io.studies.commands import BOTTLENECKS, CAPACITY, EXPLAIN, WHAT_IF
from sendplan.planner.problem.parameters import THREADS, Parameters
from sendplan.planner.schema.errors import MethodError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sendplan.planner.plan.plan import Plan

Found = TypeVar("Found")
Body = Callable[..., None]

SHOWN_FAULTS = 50
"""Faults of a file that the terminal lists."""


@dataclass(frozen=True)
class Call:
    """The context of a command.

    Parameters
    ----------
    database_url : str, optional
        The database; by default the embedded one.
    data_dir : Path, optional
        The folder of the embedded one.
    as_json : bool
        Whether the result is printed as JSON.
    """

    database_url: str | None = None
    data_dir: Path | None = None
    as_json: bool = False

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator["Engine"]:
        """Open the database, and start the embedded one if no other is named."""
        from sendplan.io.database.engine import connect, require_schema
        from sendplan.io.embedded_server.server import EmbeddedServer

        with ExitStack() as stack:
            url = self.database_url or stack.enter_context(EmbeddedServer(self.data_dir)).url
            engine = connect(url)
            stack.callback(engine.dispose)
            if migrated:
                require_schema(engine)
            yield engine

    def show(
        self,
        found: Found,
        text: Callable[[Found], None],
        json: Callable[[Found], Any] | None = None,
    ) -> None:
        """Print a result as text, or as the JSON object that `json` makes of it."""
        from sendplan.io.console.tables import emit_json

        if self.as_json:
            emit_json(json(found) if json else found)
        else:
            text(found)


class Text(click.ParamType[Any]):
    """A value that a function reads from its text."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.name, self.read = "value", read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text; a text that cannot be read is a usage error."""
        if not isinstance(value, str):
            return value
        try:
            return self.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Finite(click.FloatRange):
    """A number within bounds; NaN is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number."""
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value} is not a number.", param, ctx)
        return found


class Commands(click.Group):
    """The commands by section; errors become a message and an exit code."""

    sections: dict[str, Section]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands below the titles of their sections."""
        width = max(map(len, self.commands))
        left = formatter.width - width - 4
        for section in Section:
            names = [name for name in self.commands if self.sections[name] is section]
            lines = [
                (f"{name:{width}}", self.commands[name].get_short_help_str(left)) for name in names
            ]
            with formatter.section(section):
                formatter.write_dl(lines)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error ends it with its exit code (io/README.md, exit codes)."""
        try:
            with tolerant_streams():
                return super().invoke(ctx)
        except StreamError as error:
            if str(error):
                complain(f"Error: {error}")
            ctx.exit(error.exit_code)
        except SendplanError as error:
            text = error.report(SHOWN_FAULTS) if isinstance(error, DataError) else str(error)
            complain(text if error.exit_code == 0 else f"Error: {text}")
            ctx.exit(error.exit_code)
        except MethodError as error:
            raise click.UsageError(printable(redacted(str(error)))) from error
        except click.ClickException as error:
            _hide_secrets(error)
            raise

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the options before the command; usage errors are shown without secrets."""
        try:
            with tolerant_streams():
                return super().make_context(*args, **more)
        except StreamError as error:
            if str(error):
                complain(f"Error: {error}")
            raise click.exceptions.Exit(error.exit_code) from error
        except click.ClickException as error:
            _hide_secrets(error)
            raise


def _hide_secrets(error: click.ClickException) -> None:
    """Redact secrets that were typed in the wrong place."""
    vars(error)["message"] = printable(redacted(error.message))


def _parameter(option: Option) -> click.Parameter:
    """Make a parameter of a command from its declaration."""
    kind: Any = str if option.kind is str else Text(option.kind)
    if option.choices:
        kind = click.Choice(option.choices)
    elif option.kind is Path:
        kind = click.Path(
            path_type=Path,
            exists=option.exists,
            file_okay=not option.folder,
            dir_okay=option.folder is not False,
        )
    elif option.kind is int:
        most = LARGEST_ID if option.most is None else option.most
        kind = click.IntRange(-LARGEST_ID if option.least is None else int(option.least), int(most))
    elif option.kind is float:
        most = LARGEST if option.most is None else option.most
        kind = Finite(-LARGEST if option.least is None else option.least, most)
    if option.is_argument:
        required = not option.flag.startswith("[")
        return click.Argument([option.name], type=kind, required=required)
    switch = not option.metavar and not option.choices
    known = {"default": option.default, "metavar": option.metavar, "envvar": option.environment}
    return click.Option(
        [option.flag, option.name],
        type=None if switch else kind,
        is_flag=switch or None,
        help=f"{option.about} Repeatable." if option.repeatable else option.about,
        required=option.required,
        multiple=option.repeatable,
        show_default=option.default is not None and not callable(option.default),
        **{name: value for name, value in known.items() if value not in (None, "")},
    )


def _help(about: str, calls: Iterable[str], title: str) -> str:
    # click keeps the lines of a paragraph that begins with this character.
    return "\n".join([f"{about}\n\n\b\n{title}:", *(f"  sendplan {call}" for call in calls)])


def add(declared: Command, body: Body, kind: type[click.Command] = click.Command) -> None:
    """Add a command that calls a function with a `Call` and its options."""

    def callback(
        database_url: str | None, data_dir: Path | None, as_json: bool = False, **options: Any
    ) -> None:
        before: Call = click.get_current_context().obj
        for check in declared.checks:
            if fault := check(options):
                raise click.UsageError(fault)
        place = (database_url or before.database_url, data_dir or before.data_dir)
        body(Call(*place, as_json), **options)

    # Only the first group reads the environment: read by a command as well, it would win over an
    # option given before the command's name.
    places = [replace(option, environment="") for option in DATABASE]
    parameters = [_parameter(option) for option in (*declared.options, *places)]
    *group, word = declared.name.split()
    parent = main.commands[group[0]] if group else main
    assert isinstance(parent, click.Group)
    calls = [f"{declared.name} {example}".rstrip() for example in declared.examples]
    about = _help(declared.about, calls, "Examples" if len(calls) > 1 else "Example")
    parent.add_command(kind(word, callback=callback, params=parameters, help=about))
    if parent is main:
        main.sections[word] = declared.section


def command(declared: Command) -> Callable[[Body], Body]:
    """Make a function the body of a declared command."""

    def added(body: Body) -> Body:
        add(declared, body)
        return body

    return added


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given; the others keep the defaults of the callee."""
    return {name: value for name, value in options.items() if value is not None}


@click.group(
    cls=Commands,
    params=[_parameter(option) for option in DATABASE],
    context_settings={"help_option_names": ["-h", "--help"]},
    help=_help("Plan email sequences over the whole horizon.", ["demo", "status"], "A first tour"),
)
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context, database_url: str | None, data_dir: Path | None) -> None:
    """Keep the location of the database for the commands."""
    ctx.obj = Call(database_url, data_dir)


main.sections = {}


@command(INIT)
def init(call: Call) -> None:
    from sendplan.io.database.engine import SCHEMA_VERSION, migrate

    with call.database(migrated=False) as engine:
        migrate(engine)
    tell(f"The schema is at version {SCHEMA_VERSION}.")


@command(LOAD)
def load(call: Call, file: Path) -> None:
    from sendplan.io.campaigns.campaign_file import read_campaign
    from sendplan.io.campaigns.loading import load as load_campaign
    from sendplan.io.console.campaigns import show_loaded
    from sendplan.io.database.engine import committing

    campaign = read_campaign(file)
    with call.database() as engine, committing(engine, "loading the campaign") as connection:
        report = load_campaign(connection, campaign)
    for warning in report.warnings:
        complain(f"Warning: {warning}")
    call.show(report, show_loaded)


@command(ENROLL)
def enroll(call: Call, file: Path, sequence: str, now: dt.datetime) -> None:
    from sendplan.io.campaigns.contact_list import read_contacts
    from sendplan.io.campaigns.enroll import enroll as enroll_contacts
    from sendplan.io.console.campaigns import show_enrolled
    from sendplan.io.console.tables import bar
    from sendplan.io.database.engine import committing

    contacts = read_contacts(file)
    with (
        call.database() as engine,
        committing(engine, "enrolling") as connection,
        bar("Enrolling") as progress,
    ):
        report = enroll_contacts(connection, sequence, contacts, now, progress)
    call.show(report, show_enrolled)


@command(DEMO)
def demo(call: Call, contacts: int, mailboxes: int, seed: int, now: dt.datetime) -> None:
    from sendplan.io.campaigns.demo import fill, is_filled
    from sendplan.io.console.tables import planning, say
    from sendplan.io.database.engine import migrate
    from sendplan.planner.schema.wording import counted
    from sendplan.planner.synthetic.instances import reference

    with call.database(migrated=False) as engine:
        migrate(engine)
        if is_filled(engine):
            say("The database already holds the demonstration; planning it again.")
        else:
            with planning() as shown:
                made = f"{counted(contacts, 'contact')} and {counted(mailboxes, 'mailbox')}"
                shown.phase(f"Generating {made}")
                frames = reference(contacts, mailboxes, seed=seed, now=now, provisional=True)
                fill(engine, frames, lambda table: shown.phase(f"Filling {table}"))
        _plan(call, engine, now, Parameters())


@command(PLAN)
def plan(
    call: Call,
    now: dt.datetime,
    config: Path | None,
    on_interrupt: str,
    dry_run: bool,
    executor: str | None,
    part_size: int | None,
    **parameters: Any,
) -> None:
    from sendplan.io.planning.settings import read_settings

    settings = (read_settings(config) if config else {}) | given(**parameters)
    how = Parameters(**settings)
    with call.database() as engine:
        _plan(
            call,
            engine,
            now,
            how,
            on_interrupt,
            executor,
            dry_run=dry_run,
            **given(part_size=part_size),
        )


def _plan(
    call: Call,
    engine: "Engine",
    now: dt.datetime,
    parameters: Parameters,
    on_interrupt: str = "ask",
    executor: str | None = None,
    **more: Any,
) -> None:
    from sendplan.io.console.tables import ask_to_keep, planning, show_run
    from sendplan.io.planning.executors import dask_cluster
    from sendplan.io.planning.nightly import run_plan

    def keep(plan: "Plan") -> bool:
        return ask_to_keep(plan) if on_interrupt == "ask" else on_interrupt == "store"

    workplace = None if executor is None else dask_cluster(executor)
    with planning() as shown:
        run = run_plan(
            engine,
            now,
            parameters,
            workplace=workplace,
            report=shown.phase,
            progress=shown.step,
            done=shown.parts,
            keep=keep,
            revocable=on_interrupt == "discard",
            **more,
        )
    call.show(run, show_run)
    if run.discarded:
        sys.exit(1)


@command(DISPATCH)
def dispatch(
    call: Call,
    transport: str | None,
    outbox: Path,
    lease: float,
    grace: float,
    log: str,
    as_of: dt.datetime | None,
    **settings: Any,
) -> None:
    from sendplan.io.campaigns.demonstration import holds_demonstration
    from sendplan.io.console.dispatch import dispatched_json, show_dispatched
    from sendplan.io.console.stopping import until_stopped
    from sendplan.io.dispatch.dispatcher import Settings
    from sendplan.io.dispatch.dispatcher import dispatch as send_due
    from sendplan.io.logs import show_logs

    if as_of is not None and not settings["once"]:
        raise click.UsageError("--as-of stops the clock; it needs --once.")
    show_logs(sys.stderr, log)
    with call.database() as engine, until_stopped() as stopped:
        if transport is None:
            transport = "outbox" if holds_demonstration(engine) else "smtp"
        folder = outbox if transport == "outbox" else None
        how = Settings(
            outbox=folder,
            lease=dt.timedelta(seconds=lease),
            grace=dt.timedelta(seconds=grace),
            **settings,
        )
        done = send_due(engine, how, lambda: as_of or clock(), stopped)
    call.show(done, partial(show_dispatched, outbox=folder), dispatched_json)


@command(RECALC)
def recalc(
    call: Call,
    watch: bool,
    as_of: dt.datetime | None,
    batch_size: int | None,
    pause: float | None,
    grace: float,
    log: str,
    **parameters: Any,
) -> None:
    from sendplan.io.console.changes import show_recalculation
    from sendplan.io.console.stopping import until_stopped
    from sendplan.io.console.tables import emit_json, planning
    from sendplan.io.logs import show_logs
    from sendplan.io.planning.last_plan import recalc_parameters
    from sendplan.io.planning.recalc import DEFAULT_PACE, watch_changes
    from sendplan.io.planning.recalc import recalc as work_off

    known = given(**parameters)
    pace = replace(DEFAULT_PACE, **given(batch_size=batch_size, pause=pause))
    with call.database() as engine:
        if watch:
            show_logs(sys.stderr, log)
            show = partial(emit_json, indent=None) if call.as_json else show_recalculation
            with until_stopped() as stopped:
                watch_changes(
                    engine,
                    lambda: as_of or clock(),
                    known,
                    stopped,
                    grace=grace,
                    pace=pace,
                    done=show,
                )
            return
        now = as_of or clock()
        how = recalc_parameters(engine, now, known)
        with planning() as shown:
            done = work_off(
                engine,
                now,
                how,
                grace=grace,
                pace=pace,
                report=shown.phase,
                progress=shown.step,
            )
    call.show(done, show_recalculation)


def _enter(call: Call) -> None:
    """Keep the location of the database given before a command of a group."""
    click.get_current_context().obj = call


def _change(declared: Command, call: Call, preview: bool, now: dt.datetime, **given: Any) -> None:
    """Make the changes of a command, all or none, or preview them."""
    from sendplan.io.changes.apply import apply, sentence, summary, translated_faults
    from sendplan.io.changes.from_options import wanted_changes
    from sendplan.io.database.engine import committing

    with call.database() as engine:
        with translated_faults(), committing(engine, "making the change") as connection:
            changes = wanted_changes(connection, declared.name, given)
            done = [] if preview else [apply(connection, change, now) for change in changes]
        if not preview:
            call.show(done, lambda done: tell(sentence(done)), partial(summary, declared.name))
            return
        from sendplan.io.console.changes import show_preview
        from sendplan.io.planning.last_plan import recalc_parameters
        from sendplan.io.planning.preview import preview as look_ahead

        with translated_faults():
            found = look_ahead(engine, changes, now, recalc_parameters(engine, now))
    call.show(found, show_preview)


for _declared in GROUPS:
    add(_declared, _enter, click.Group)
for _declared in COMMANDS:
    add(_declared, partial(_change, _declared))


@command(STATUS)
def status(call: Call, now: dt.datetime) -> None:
    from sendplan.io.console.operations import show_status
    from sendplan.io.operations.status import status as read_status

    with call.database() as engine:
        found = read_status(engine, now)
    call.show(found, show_status)


@command(EXPLAIN)
def explain(call: Call, email_id: int, as_of: dt.datetime | None) -> None:
    from sendplan.io.console.explanations import show_explained
    from sendplan.io.studies.explanations import explain_email

    with call.database() as engine:
        found = explain_email(engine, email_id, clock(), as_of)
    call.show(found, show_explained)


@command(REPORT)
def report(call: Call, out: Path, now: dt.datetime) -> None:
    from sendplan.io.report.writing import require_drawing, write_report

    require_drawing()
    with call.database() as engine:
        written = write_report(engine, out, now)
    call.show(written, lambda written: tell(str(written)))


@command(WHAT_IF)
def what_if(
    call: Call,
    scenarios: Path | None,
    method: str,
    time_limit: float | None,
    workers: int | None,
    now: dt.datetime,
    **changes: Any,
) -> None:
    from sendplan.io.console.studies import show_comparison
    from sendplan.io.console.tables import bar
    from sendplan.io.studies.scenarios import read_scenarios
    from sendplan.io.studies.studies import comparison_json
    from sendplan.io.studies.studies import what_if as study

    wanted = read_scenarios(scenarios) if scenarios else {}
    if any(value not in (None, ()) for value in changes.values()):
        wanted = {"changed": changes, **wanted}
    if not wanted:
        raise click.UsageError("No scenario given; use --add-mailboxes or another option.")
    how = {"method": method} | given(time_limit=time_limit)
    planned = count(1)
    with call.database() as engine, bar("Planning") as progress:
        found = study(
            engine,
            wanted,
            now,
            how,
            done=lambda _name: progress(next(planned), len(wanted) + 1),
            **given(workers=workers),
        )
    call.show(found, show_comparison, comparison_json)


@command(CAPACITY)
def capacity(
    call: Call,
    finish_by: dt.date,
    now: dt.datetime,
    capacity: int | None,
    **how: Any,
) -> None:
    from sendplan.io.console.studies import show_capacity
    from sendplan.io.console.tables import planning
    from sendplan.io.studies.studies import capacity as study
    from sendplan.io.studies.studies import capacity_json

    if capacity is not None and how["of"] == "capacity":
        raise click.UsageError(
            "--capacity is the capacity of new mailboxes; it needs --of mailboxes."
        )
    with call.database() as engine, planning() as shown:
        found = study(
            engine, finish_by, now, daily_capacity=capacity, told=shown.phase, **given(**how)
        )
    call.show(found, show_capacity, capacity_json)


@command(BOTTLENECKS)
def bottlenecks(call: Call, by_mailbox: bool, now: dt.datetime) -> None:
    from sendplan.io.console.bottlenecks import show_bottlenecks
    from sendplan.io.studies.bottlenecks import stored_bottlenecks

    with call.database() as engine:
        found = stored_bottlenecks(engine, now, by_mailbox=by_mailbox)
    call.show(found, show_bottlenecks)


@command(CHECK)
def check(call: Call) -> None:
    from sendplan.io.console.tables import show_findings
    from sendplan.io.planning.check import check as check_plan

    with call.database() as engine:
        findings = check_plan(engine, clock())
    call.show(findings, show_findings)
    if len(findings.violations):
        sys.exit(1)


@command(HEALTH)
def health(
    call: Call,
    max_late: float | None,
    max_plan_age: float | None,
    fail_on_uncertain: bool,
    now: dt.datetime,
) -> None:
    from sendplan.io.console.operations import show_health
    from sendplan.io.operations.health import Limits
    from sendplan.io.operations.health import health as look

    limits = Limits(uncertain=not fail_on_uncertain)
    if max_late is not None:
        limits = replace(limits, late=dt.timedelta(seconds=max_late))
    if max_plan_age is not None:
        limits = replace(limits, plan_age=dt.timedelta(hours=max_plan_age))
    with call.database() as engine:
        found = look(engine, now, limits)
    call.show(found, show_health)
    if not found.fine:
        sys.exit(1)


@command(UNCERTAIN)
def uncertain(
    call: Call, sent: tuple[int, ...], not_sent: tuple[int, ...], at: dt.datetime | None
) -> None:
    from sendplan.io.console.operations import show_resolved, show_uncertain
    from sendplan.io.operations.uncertain import resolve, uncertain_emails

    if at is not None and not sent:
        raise click.UsageError("--at is the time at which emails left; it needs --sent.")
    with call.database() as engine:
        if not sent and not not_sent:
            found = uncertain_emails(engine)
            call.show(found, show_uncertain, lambda emails: {"uncertain": emails})
            return
        resolve(engine, sent, not_sent, clock(), at=at)
    resolved = {"sent": sorted(set(sent)), "not_sent": sorted(set(not_sent))}
    call.show(resolved, show_resolved)


def run() -> None:
    """Run the command line as a program.

    A solver cannot be cancelled after Ctrl-C; the program does not wait for it.
    """
    code: int | str | None = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    if any(thread.name.startswith(THREADS) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)
    sys.exit(code)
