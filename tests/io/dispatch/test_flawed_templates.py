"""Templates that parser, compiler or sandbox give up with: at the door, and amid dispatching."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from sendplan.cli import main
from sendplan.tests.worlds.dispatching.world import DispatchWorld

FLAWED = {
    "a number of 5,000 digits": ("{{ " + "9" * 5_000 + " }}", "ValueError"),
    "such a hexadecimal number": ("{{ 0x" + "f" * 5_000 + " }}", "ValueError"),
    "an infinite number": ("{% if name|length > 1e400 %}x{% endif %}", "NameError"),
    "a lone surrogate": (r"{{ '\ud800' }}", "U+D800"),
    "an escape": (r"{{ '\x1b[2J' }}", "U+001B"),
    "an escape where it is optional": (r"{% if name %}{{ '\x1b' }}{% endif %}", "U+001B"),
    "an escape where a value lacks": (r"{% if x %}a{% else %}{{ '\x1b' }}{% endif %}", "U+001B"),
    "deep nesting": ("{{ " + "(" * 5_000 + "name", "nested too deeply"),
    "many branches": ("{% if name %}" + "{% elif true %}" * 5_100 + "{% endif %}", "5,101 texts"),
    "the first letter of nothing": ("{{ ''|first }}", "No first item"),
    "a name that no contact has": ("Dear {{ firstname }}", "no contact of the sequence has"),
}
AT_THE_DOOR = {what: case for what, case in FLAWED.items() if "no contact" not in what}


@pytest.fixture
def world(engine: Engine, database_url: str) -> Iterator[DispatchWorld]:
    with DispatchWorld(engine, database_url) as world:
        yield world


def test_flawed_sequences_pause_and_cost_a_good_one_on_their_mailbox_no_email(
    world: DispatchWorld,
) -> None:
    """Plain SQL stores what `load` refuses; in turn with each flawed email a good one is due."""
    server = world.server()
    world.sequence(1)
    keys = range(2, len(FLAWED) + 2)
    for key, (source, _) in zip(keys, FLAWED.values(), strict=True):
        world.sequence(key, content=source)
    world.mailbox(1, server, sequences=(1, *keys))
    for key in keys:
        world.emails([key, 1_000 + key], sequence=key).emails([100 + key])
    world.dispatched()
    for key, (what, (_, reason)) in zip(keys, FLAWED.items(), strict=True):
        assert world.value("sequences", key, "status") == "paused", what
        assert reason in world.value("sequences", key, "paused_reason"), what
        # They wait for a mended template; no attempt is counted.
        assert [world.state(one) for one in (key, 1_000 + key)] == [("pending", 0)] * 2, what
        assert world.state(100 + key) == ("sent", 1), what
    assert world.value("mailboxes", 1, "status") == "active"
    assert len(server.accepted) == len(FLAWED)


def test_a_name_that_some_contacts_have_ends_the_threads_of_the_others_only(
    world: DispatchWorld,
) -> None:
    world.sequence(1).mailbox(1, world.server()).emails([1, 2])
    world.run("UPDATE contacts SET attributes = '{\"name\": null}' WHERE id = 1")
    world.dispatched()
    assert [world.state(key)[0] for key in (1, 2)] == ["failed", "sent"]
    assert world.value("sequences", 1, "status") == "active"


def test_attributes_that_python_cannot_read_end_the_thread_of_their_contact_only(
    world: DispatchWorld,
) -> None:
    world.sequence(1).mailbox(1, world.server()).emails([1, 2])
    world.run(
        "UPDATE contacts SET attributes = CAST(:value AS jsonb) WHERE id = 1",
        value='{"name": ' + "9" * 5_000 + "}",
    )
    world.dispatched()
    assert [world.state(key)[0] for key in (1, 2)] == ["failed", "sent"]
    assert world.value("sequences", 1, "status") == "active"


@pytest.mark.parametrize("what", AT_THE_DOOR)
def test_flawed_templates_are_refused_when_they_come_in(
    world: DispatchWorld, tmp_path: Path, what: str
) -> None:
    source, reason = AT_THE_DOOR[what]
    file, template = tmp_path / "campaign.toml", tmp_path / "step.txt"
    template.write_text(source)
    file.write_text(
        f"""
        [[mailboxes]]
        email = "ann@mail.example"
        daily_capacity = 60

        [[sequences]]
        name = "Autumn"
        start_time = "09:00"
        end_time = "17:00"
        mailboxes = ["ann@mail.example"]
        attributes = ["name", "x"]

        [[sequences.steps]]
        subject = "Hello"
        content = '''{source}'''
        """
    )
    world.sequence(1).mailbox(1).enroll(1)
    world.run("""UPDATE contacts SET attributes = '{"name": "Ada", "x": "y"}'""")
    runner = CliRunner(env={"SENDPLAN_DATABASE_URL": world.url})
    step = ("--content-file", str(template))
    calls = [
        ("load", str(file)),
        ("step", "add", "--sequence", "sequence 1", "--wait", "1", "--subject", "Hi", *step),
        ("step", "set", "11", *step),
    ]
    for call in calls:
        refused = runner.invoke(main, call)
        assert (refused.exit_code, reason in refused.stderr) == (3, True), refused.output
        assert "\x1b" not in refused.stderr
    # Nothing of it is stored.
    assert world.run("SELECT count(*) FROM steps")[0][0] == 1
    assert world.value("steps", 11, "content") == "Dear {{ name }}!"


def test_a_subject_that_prints_a_line_break_is_refused_when_it_comes_in(
    world: DispatchWorld,
) -> None:
    world.sequence(1)
    subject = r"Hi{% if name %}{{ '\nBcc: evil@x.example' }}{% endif %}"
    runner = CliRunner(env={"SENDPLAN_DATABASE_URL": world.url})
    refused = runner.invoke(main, ["step", "set", "11", "--subject", subject])
    assert refused.exit_code == 3
    assert "a line feed" in refused.stderr
