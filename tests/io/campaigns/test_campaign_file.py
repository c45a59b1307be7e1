"""Campaign files: what they may say, what mistakes are told, that loading is all or nothing."""

import datetime as dt
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from sendplan.io.campaigns.campaign_file import Campaign, parse, read_campaign
from sendplan.io.campaigns.loading import load
from sendplan.io.documents.toml_lines import TomlLines
from sendplan.io.errors import DataError
from sendplan.tests.worlds.databases.contents import stored

DATA = Path(__file__).parents[2] / "data"

SOUND = """\
[[mailboxes]]
email = "ann@mail.example"
daily_capacity = 60

[[mailboxes]]
email = "ben@mail.example"
daily_capacity = 60

[[sequences]]
name = "Autumn"
start_time = "09:00"
end_time = "17:00"
mailboxes = ["ann@mail.example", "ben@mail.example"]
attributes = ["first_name"]

[[sequences.steps]]
subject = "Hi {{ first_name }}"
content = "Hello"

[[sequences.steps]]
wait_days = 3
subject = "Re: hi"
content = '''
Hello again
'''
"""

ANN = 'email = "ann@mail.example"\n'
CAPACITY = "daily_capacity = 60\n"
SUBJECT = 'subject = "Hi {{ first_name }}"\n'
WINDOW_END = 'end_time = "17:00"\n'
POOL = 'mailboxes = ["ann@mail.example", "ben@mail.example"]\n'


def subject(escaped: str) -> tuple[str, str]:
    return SUBJECT, f'subject = "{escaped}"\n'


BAD = [
    # old, new (the first occurrence is replaced), where, what, remedy
    # numbers
    (CAPACITY, "daily_capacity = -1\n", "line 3, mailboxes[1].daily_capacity",
     "-1 is out of range", "from 0 to 100,000"),
    (CAPACITY, "daily_capacity = 1000000000\n", "line 3, mailboxes[1].daily_capacity",
     "1000000000 is out of range", "from 0 to 100,000"),
    (CAPACITY, "daily_capacity = true\n", "line 3, mailboxes[1].daily_capacity",
     "a whole number is needed, not a truth value 'True'", "whole number"),
    (CAPACITY, 'daily_capacity = "60"\n', "line 3, mailboxes[1].daily_capacity",
     "a whole number is needed, not the text '60'", "whole number"),
    (CAPACITY, "daily_capacity = 60.5\n", "line 3, mailboxes[1].daily_capacity",
     "a whole number is needed, not the number '60.5'", "whole number"),
    (CAPACITY, "", "line 1, mailboxes[1].daily_capacity", "'daily_capacity' is missing", "whole"),
    (CAPACITY, CAPACITY + "min_gap_seconds = 100000\n", "line 4, mailboxes[1].min_gap_seconds",
     "100000 is out of range", "from 0 to 86,400"),
    ("wait_days = 3", "wait_days = -1", "line 21, sequences[1].steps[2].wait_days",
     "-1 is out of range", "from 0 to 366"),
    ("wait_days = 3", "wait_days = 4000", "line 21, sequences[1].steps[2].wait_days",
     "4000 is out of range", "from 0 to 366"),
    (WINDOW_END, WINDOW_END + "priority = 0\n", "line 13, sequences[1].priority",
     "the number '0' cannot be used", "above 0"),
    (WINDOW_END, WINDOW_END + "priority = inf\n", "line 13, sequences[1].priority",
     "the number 'inf' cannot be used", "above 0"),
    (WINDOW_END, WINDOW_END + "priority = nan\n", "line 13, sequences[1].priority",
     "the number 'nan' cannot be used", "above 0"),
    (WINDOW_END, WINDOW_END + "max_new_per_day = 0\n", "line 13, sequences[1].max_new_per_day",
     "0 is out of range", "from 1"),
    # mailboxes
    (ANN, 'email = "ann"\n', "line 2, mailboxes[1].email", "no @ in the address: 'ann'", "name@"),
    (ANN, "", "line 1, mailboxes[1].email", "'email' is missing", "email ="),
    (ANN, 'email = "Ben@mail.example"\n', "line 6, mailboxes[2].email",
     "'ben@mail.example' is listed twice", "remove"),
    (CAPACITY, CAPACITY + 'transport = "smtp://ann:hunter2@mail.example"\n',
     "line 4, mailboxes[1].transport", "no reference to a secret", '"env:NAME"'),
    (CAPACITY, CAPACITY + 'transport = "env:smtp://ann:hunter2@mail.example"\n',
     "line 4, mailboxes[1].transport", "no reference to a secret", '"env:NAME"'),
    (CAPACITY, CAPACITY + 'transport = "file:smtp://ann:hunter2@mail.example"\n',
     "line 4, mailboxes[1].transport", "no reference to a secret", '"env:NAME"'),
    (CAPACITY, CAPACITY + 'password = "hunter2"\n', "line 4, mailboxes[1].password",
     "secrets do not belong into this file ('password')", "env:NAME"),
    (CAPACITY, CAPACITY + "ramp = 5\n", "line 4, mailboxes[1].ramp",
     "a table is needed, not the number '5'", "{ start = 10"),
    (CAPACITY, CAPACITY + "ramp = { start = 5, from = 2026-11-02 }\n",
     "line 4, mailboxes[1].ramp.increment", "'increment' is missing", "whole number"),
    (CAPACITY, CAPACITY + "ramp = { start = 5, increment = 5 }\n",
     "line 4, mailboxes[1].ramp.from", "'from' is missing", "2026-01-31"),
    (CAPACITY, CAPACITY + 'ramp = { start = 5, increment = 5, from = "soon" }\n',
     "line 4, mailboxes[1].ramp.from", "the text 'soon' is no date", "2026-01-31"),
    (CAPACITY, CAPACITY + "ramp = { start = 5, increment = 5, from = 2026-11-02T09:00:00 }\n",
     "line 4, mailboxes[1].ramp.from", "the date and time '2026-11-02 09:00:00' is no date", "31"),
    (CAPACITY, CAPACITY + 'status = "removed"\n', "line 4, mailboxes[1].status",
     "unknown word 'removed'", "'active', 'paused'"),
    # sequences
    ('name = "Autumn"\n', "", "line 9, sequences[1].name", "'name' is missing", "name ="),
    ('name = "Autumn"\n', 'name = "a\\nb"\n', "line 10, sequences[1].name",
     "a line feed (U+000A)", "remove"),
    ('name = "Autumn"\n', f'name = "{"x" * 201}"\n', "line 10, sequences[1].name",
     "201 characters: 'xxx", "200 at most"),
    ('name = "Autumn"\n', 'name = " "\n', "line 10, sequences[1].name", "text is empty", "name ="),
    (WINDOW_END, 'end_time = "09:00"\n', "line 12, sequences[1].end_time",
     "the window ends at 09:00:00, not after its start at 09:00:00", "later"),
    (WINDOW_END, 'end_time = "24:00"\n', "line 12, sequences[1].end_time",
     "the text '24:00' is no time of day, the latest being 23:59:59", "09:00"),
    (WINDOW_END, "end_time = 17:00:00.5\n", "line 12, sequences[1].end_time",
     "the time '17:00:00.500000' is no time of day", "09:00"),
    (WINDOW_END, "end_time = 17\n", "line 12, sequences[1].end_time",
     "the number '17' is no time of day", "09:00"),
    (WINDOW_END, "", "line 9, sequences[1].end_time", "'end_time' is missing", "09:00"),
    (WINDOW_END, WINDOW_END + 'timezone = "Europe/Berln"\n', "line 13, sequences[1].timezone",
     "unknown time zone 'Europe/Berln'", "did you mean 'Europe/Berlin'?"),
    (WINDOW_END, WINDOW_END + "timezone = 1\n", "line 13, sequences[1].timezone",
     "a text is needed, not the number '1'", "quotes"),
    (WINDOW_END, WINDOW_END + 'unsubscribe_url = "http://x.example/{{ token }}"\n',
     "line 13, sequences[1].unsubscribe_url", "no https: or mailto: URL", "https://"),
    (WINDOW_END, WINDOW_END + 'unsubscribe_url = "https://x.example/{{ nme }}"\n',
     "line 13, sequences[1].unsubscribe_url", "unknown variable 'nme'", "known: "),
    (WINDOW_END, WINDOW_END + 'holidays = "Germany"\n', "line 13, sequences[1].holidays",
     "no holidays are known for the country 'Germany'", "did you mean 'DE'?"),
    (WINDOW_END, WINDOW_END + 'holidays = "de"\n', "line 13, sequences[1].holidays",
     "no holidays are known for the country 'de'", "did you mean 'DE'?"),
    (WINDOW_END, WINDOW_END + 'holidays = "Q9"\n', "line 13, sequences[1].holidays",
     "no holidays are known for the country 'Q9'", "'US' or 'DE'"),
    (WINDOW_END, WINDOW_END + "send_days = []\n", "line 13, sequences[1].send_days",
     "no sending day", '["mon", "tue", 3]'),
    (WINDOW_END, WINDOW_END + 'send_days = "mon"\n', "line 13, sequences[1].send_days",
     "a list of days is needed, not the text 'mon'", '["mon", "tue", 3]'),
    (WINDOW_END, WINDOW_END + "send_days = [1, 8]\n", "line 13, sequences[1].send_days",
     "the number '8' is no day of the week", "Monday being 1"),
    (WINDOW_END, WINDOW_END + "send_days = [true, 2]\n", "line 13, sequences[1].send_days",
     "a truth value 'True' is no day of the week", "Monday being 1"),
    (WINDOW_END, WINDOW_END + 'send_days = ["mo", 2]\n', "line 13, sequences[1].send_days",
     "the text 'mo' is no day of the week", "names"),
    (WINDOW_END, WINDOW_END + 'wait_unit = "days"\n', "line 13, sequences[1].wait_unit",
     "unknown word 'days'", "'calendar', 'sending'"),
    (WINDOW_END, WINDOW_END + 'wait_unit = "calender"\n', "line 13, sequences[1].wait_unit",
     "unknown word 'calender'", "did you mean 'calendar'?"),
    (WINDOW_END, WINDOW_END + 'time_zone = "UTC"\n', "line 13, sequences[1].time_zone",
     "unknown key 'time_zone'", "did you mean 'timezone'?"),
    ("wait_days = 3", "wait_day = 3", "line 21, sequences[1].steps[2].wait_day",
     "unknown key 'wait_day'", "did you mean 'wait_days'?"),
    ("wait_days = 3", "position = 3", "line 21, sequences[1].steps[2].position",
     "unknown key 'position'", "known here: wait_days, subject, content, content_file"),
    # pools
    (POOL, "", "line 9, sequences[1].mailboxes", "no mailbox to send from", "mailboxes ="),
    (POOL, "mailboxes = []\n", "line 13, sequences[1].mailboxes", "no mailbox to send", "name a"),
    (POOL, 'mailboxes = "ann@mail.example"\n', "line 13, sequences[1].mailboxes",
     "a list of texts is needed, not the text 'ann@mail.example'", "mailboxes = ["),
    (POOL, 'mailboxes = ["anne@mail.example"]\n', "line 13, sequences[1].mailboxes",
     "no mailbox 'anne@mail.example' in this file", "did you mean 'ann@mail.example'?"),
    (POOL, 'mailboxes = ["sales"]\n', "line 13, sequences[1].mailboxes",
     "no group 'sales' in this file", "add it to [groups]"),
    (POOL, 'mailboxes = ["ann@mail.example", "ANN@mail.example"]\n',
     "line 13, sequences[1].mailboxes", "'ANN@mail.example' is listed twice", "remove"),
    ("[[mailboxes]]\n", 'groups.sales = ["x@mail.example"]\n[[mailboxes]]\n', "groups.sales",
     "no mailbox 'x@mail.example' in this file", "[[mailboxes]]"),
    (CAPACITY, CAPACITY + "user_id = 7\n", "line 14, sequences[1].mailboxes",
     "mailboxes of several users in one sequence (user_id 7, none)", "one user"),
    ("[[mailboxes]]\n", 'groups."a@b" = ["ann@mail.example"]\n[[mailboxes]]\n', "groups.a@b",
     "'a@b' looks like an address", "without @"),
    ("[[mailboxes]]\n", "groups.sales = []\n[[mailboxes]]\n", "groups.sales",
     "the group has no mailbox", "ann@mail.example"),
    # steps
    (SUBJECT, "", "line 16, sequences[1].steps[1].subject", "'subject' is missing", "subject ="),
    ('content = "Hello"\n', "", "line 16, sequences[1].steps[1].content", "'content' is missing",
     "content_file"),
    ('content = "Hello"\n', 'content = " "\n', "line 18, sequences[1].steps[1].content",
     "the content is empty", "text"),
    ('content = "Hello"\n', 'content = "a\\n\\u0000"\n',
     "line 18, sequences[1].steps[1].content, template line 2",
     "a NUL (U+0000)", "remove it"),
    ('content = "Hello"\n', 'content = "\\u001b[2J"\n',
     "line 18, sequences[1].steps[1].content, template line 1",
     "an escape (U+001B)", "remove it"),
    ('content = "Hello"\n', 'content = "a"\ncontent_file = "b"\n',
     "line 19, sequences[1].steps[1].content_file", "content and content_file at once", "one"),
    ('content = "Hello"\n', 'content_file = "../secret.txt"\n',
     "line 18, sequences[1].steps[1].content_file", "'../secret.txt' lies outside", "beside"),
    ('content = "Hello"\n', 'content_file = "/etc/passwd"\n',
     "line 18, sequences[1].steps[1].content_file", "'/etc/passwd' lies outside", "beside"),
    ('content = "Hello"\n', 'content_file = "escape.txt"\n',
     "line 18, sequences[1].steps[1].content_file", "'escape.txt' lies outside", "beside"),
    ('content = "Hello"\n', 'content_file = "none.txt"\n',
     "line 18, sequences[1].steps[1].content_file, 'none.txt'",
     "cannot be read: no such file or directory", "path"),
    ('content = "Hello"\n', 'content_file = "latin1.txt"\n',
     "line 18, sequences[1].steps[1].content_file, 'latin1.txt', line 2",
     "not UTF-8: byte 0xf6 at byte 7", "UTF-8"),
    ('content = "Hello"\n', 'content_file = "nul.txt"\n',
     "line 18, sequences[1].steps[1].content_file, 'nul.txt', line 1, character 2",
     "a NUL character", "remove it"),
    ('content = "Hello"\n', 'content_file = "huge.txt"\n',
     "line 18, sequences[1].steps[1].content_file, 'huge.txt'", "larger than 256 KiB", "split"),
    # templates
    ('content = "Hello"\n', 'content = """\nHi\n{{ firstname }}"""\n',
     "line 18, sequences[1].steps[1].content, template line 2", "unknown variable 'firstname'",
     "did you mean 'first_name'? (known: email, first_name, sender)"),
    ("Hello again", "{{ first_name", "line 23, sequences[1].steps[2].content, template line 1",
     "syntax error", "closed"),
    ("Hello again", "{% include 'x' %}", "line 23, sequences[1].steps[2].content, template line 1",
     "other templates cannot be used", "this step"),
    ('["first_name"]', '["first_name", "first name"]', "line 14, sequences[1].attributes",
     "'first name' cannot be used in templates", "first_name"),
    ('["first_name"]', '["first_name", "email"]', "line 14, sequences[1].attributes",
     "'email' is a built-in variable", "another name"),
    ('["first_name"]', '["first_name", "first_name"]', "line 14, sequences[1].attributes",
     "'first_name' is listed twice", "remove"),
    ('["first_name"]', '["first_name", 1]', "line 14, sequences[1].attributes",
     "a text is needed, not the number '1'", "first_name"),
    # subjects
    (*subject("Hi\\rBcc: evil@x"), "line 17, sequences[1].steps[1].subject",
     "a carriage return (U+000D) at character 3", "remove it"),
    (*subject("Hi\\nBcc: evil@x"), "line 17, sequences[1].steps[1].subject",
     "a line feed (U+000A) at character 3", "remove it"),
    (*subject("Hi\\u000bBcc: evil@x"), "line 17, sequences[1].steps[1].subject", "(U+000B)", "rem"),
    (*subject("Hi\\u000cBcc: evil@x"), "line 17, sequences[1].steps[1].subject", "(U+000C)", "rem"),
    (*subject("Hi\\u0085Bcc: evil@x"), "line 17, sequences[1].steps[1].subject", "(U+0085)", "rem"),
    (*subject("Hi\\u2028Bcc: evil@x"), "line 17, sequences[1].steps[1].subject",
     "line separator (U+2028)", "remove it"),
    (*subject("Hi\\u0000"), "line 17, sequences[1].steps[1].subject", "a NUL (U+0000)", "remove"),
    (*subject("Hi\\u001b[2J"), "line 17, sequences[1].steps[1].subject", "an escape (U+001B)",
     "remove"),
    (*subject("=?utf-8?q?Hi=0D=0ABcc:_evil@x?="), "line 17, sequences[1].steps[1].subject",
     "an encoded word that hides a carriage return (U+000D)", "the characters themselves"),
    (*subject("=?utf-8?b?SGk=?="), "line 17, sequences[1].steps[1].subject", "an encoded word: ",
     "the characters themselves"),
    (*subject(" "), "line 17, sequences[1].steps[1].subject", "the subject is empty", "write"),
    (*subject("x" * 999), "line 17, sequences[1].steps[1].subject", "999 characters: 'xxx",
     "998 at most"),
    # the document
    ("[[mailboxes]]", "[mailboxes", "line 1, column 11", "syntax error: Expected ']'", "TOML"),
    (CAPACITY, "daily_capacity = 09:00\n", "line 3, column 19", "syntax error: Expected", "TOML"),
    (ANN, 'email = "ann\n', "line 2, column 13", "syntax error: Illegal character", "TOML"),
    ("[[mailboxes]]", "[extra]\n[[mailboxes]]", "line 1, extra", "unknown key 'extra'", "remove"),
    ("[[sequences]]", "[[sequence]]", "line 9, sequence", "unknown key 'sequence'",
     "did you mean 'sequences'?"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a campaign file, with contents of all sorts."""
    inside = tmp_path / "campaign"
    inside.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (inside / "escape.txt").symlink_to(tmp_path / "secret.txt")
    (inside / "latin1.txt").write_bytes(b"Hello\nJ\xf6rg")
    (inside / "nul.txt").write_bytes(b"a\0b")
    (inside / "huge.txt").write_bytes(b"x" * (256 * 1024 + 1))
    (inside / "bom.txt").write_bytes("\ufeffGrüße, {{ first_name }}".encode())
    return inside


def changed(old: str, new: str) -> str:
    assert old in SOUND
    return SOUND.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "where", "what", "remedy"), BAD, ids=[f"{case[2]}: {case[3]}" for case in BAD]
)
def test_bad_campaigns(
    folder: Path, old: str, new: str, where: str, what: str, remedy: str
) -> None:
    with pytest.raises(DataError) as raised:
        parse(changed(old, new), folder, name="c.toml")
    fault = next(
        (found for found in raised.value.faults if what in found.rule), raised.value.faults[0]
    )
    assert where in fault.where
    assert what in fault.rule
    assert remedy in fault.remedy
    assert "hunter2" not in raised.value.report()
    assert all(line.isprintable() for line in raised.value.report().split("\n"))


def test_a_lone_surrogate_is_no_subject() -> None:
    # TOML cannot write one, but a text handed over in Python can hold it.
    with pytest.raises(DataError, match=r"U\+D800"):
        parse(changed(*subject("Hi \ud800")))


def test_zero_steps() -> None:
    head = SOUND[: SOUND.index("[[sequences.steps]]")]
    with pytest.raises(DataError, match=r"sequences\[1\]\.steps: the sequence has no step"):
        parse(head)


def test_too_many_steps() -> None:
    step = "[[sequences.steps]]\nsubject = 'a'\ncontent = 'b'\n"
    with pytest.raises(DataError, match=r"sequences\[1\]\.steps: 63 steps – keep to 62 at most"):
        parse(SOUND + step * 61)


def test_elements_that_are_no_tables() -> None:
    with pytest.raises(DataError, match=r"sequences\[1\]: a table is needed, not the number '1'"):
        parse("sequences = [1]")


def test_contents_of_their_own_need_a_folder() -> None:
    with pytest.raises(DataError, match="the campaign is not read from a file – use content"):
        parse(changed('content = "Hello"\n', 'content_file = "a.txt"\n'))


def test_two_sequences_of_one_name() -> None:
    twice = SOUND + SOUND[SOUND.index("[[sequences]]") :]
    with pytest.raises(DataError, match=r"line 27, sequences\[2\]\.name: two sequences are called"):
        parse(twice)


def test_a_pool_without_an_active_mailbox() -> None:
    paused = SOUND.replace(CAPACITY, CAPACITY + 'status = "paused"\n')
    with pytest.raises(DataError, match="none of the mailboxes is active – add one"):
        parse(paused)
    parse(SOUND.replace(CAPACITY, CAPACITY + 'status = "paused"\n', 1))


def test_an_empty_file() -> None:
    with pytest.raises(DataError, match="the file has no sequence and no mailbox"):
        parse("# nothing\n")


def test_every_problem_is_in_one_report() -> None:
    text = changed(CAPACITY, "daily_capacity = -1\n").replace("17:00", "08:00")
    text = text.replace("wait_days = 3", "wait_days = -3").replace("Hello again", "{{ x }}")
    with pytest.raises(DataError) as raised:
        parse(text, name="c.toml")
    assert [fault.where for fault in raised.value.faults] == [
        "line 3, mailboxes[1].daily_capacity",
        "line 12, sequences[1].end_time",
        "line 21, sequences[1].steps[2].wait_days",
        "line 23, sequences[1].steps[2].content, template line 1",
    ]
    assert str(raised.value).startswith("c.toml: 4 problems\n")


def test_bad_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    for content, message in (
        (b"\xff\xfea", "UTF-16"),
        (b"a = 1\nb = '\xf6'", r"line 2: not UTF-8: byte 0xf6 at byte 11 of the file"),
        (b"a = '\0'", "line 1, character 6: a NUL character"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_campaign(path)
    path.write_bytes(b"\xef\xbb\xbf" + SOUND.encode())
    assert len(read_campaign(path).sequences) == 1


def test_defaults_and_everything(folder: Path) -> None:
    campaign = parse(SOUND, environ={})
    unset = ("user_id", "ramp_start", "ramp_increment", "ramp_from", "transport")
    assert campaign.mailboxes[0] == {
        "email": "ann@mail.example", "daily_capacity": 60, "min_gap_seconds": 0,
        **dict.fromkeys(unset),
    }  # fmt: skip
    autumn, (_, second) = campaign.sequences[0].columns, campaign.sequences[0].steps
    assert (autumn["timezone"], autumn["send_days"], autumn["wait_unit"]) == (
        "UTC", [1, 2, 3, 4, 5], "calendar",
    )  # fmt: skip
    assert second == {"wait_days": 3, "subject": "Re: hi", "content": "Hello again\n"}
    everything = parse(
        """
        [groups]
        sales = ["ann@mail.example", "Ben@mail.example"]
        [[mailboxes]]
        email = "Ann@Mail.Example"
        user_id = 7
        daily_capacity = 60
        min_gap_seconds = 90
        ramp = { start = 10, increment = 5, from = "2026-11-02" }
        transport = "env:SMTP_URL"
        [[mailboxes]]
        email = "ben@mail.example"
        user_id = 7
        daily_capacity = 0
        transport = "file:/run/secrets/ben"
        status = "paused"
        [[sequences]]
        name = " Autumn "
        start_time = 09:00:30
        end_time = "17:00:15"
        timezone = "America/New_York"
        send_days = ["Wednesday", "mon", 5, 5]
        holidays = "US"
        wait_unit = "sending"
        priority = 2.5
        max_new_per_day = 10
        mailboxes = ["sales", ]
        status = "paused"
        attributes = ["first_name"]
        unsubscribe_url = "https://out.example/{{ token }}?{{ first_name }}"
        steps = [{ subject = "Hi", content_file = "bom.txt" }]
        """,
        folder,
        environ={"SMTP_URL": "smtp://a:hunter2@b"},
    )
    ann, ben = everything.mailboxes
    assert ann == {
        "email": "Ann@mail.example", "daily_capacity": 60, "user_id": 7, "min_gap_seconds": 90,
        "ramp_start": 10, "ramp_increment": 5, "ramp_from": dt.date(2026, 11, 2),
        "transport": "env:SMTP_URL",
    }  # fmt: skip
    assert (ben["daily_capacity"], ben["status"]) == (0, "paused")
    (found,) = everything.sequences
    assert found.mailboxes == ("ann@mail.example", "ben@mail.example")
    assert found.columns == {
        "name": "Autumn", "start_time": dt.time(9, 0, 30), "end_time": dt.time(17, 0, 15),
        "timezone": "America/New_York", "send_days": [1, 3, 5], "holidays": "US",
        "wait_unit": "sending", "priority": 2.5, "max_new_per_day": 10, "status": "paused",
        "unsubscribe_url": "https://out.example/{{ token }}?{{ first_name }}",
    }  # fmt: skip
    content = "Grüße, {{ first_name }}"
    assert found.steps == ({"wait_days": 0, "subject": "Hi", "content": content},)
    # Only the missing file is warned of; the variable is set, and its value shown nowhere.
    (warning,) = everything.warnings
    assert "the file '/run/secrets/ben' does not exist here" in warning.rule


def test_a_secret_that_is_not_set_here_is_a_warning() -> None:
    (warning,) = parse(
        changed(CAPACITY, CAPACITY + 'transport = "env:URL_A"\n'), environ={}
    ).warnings
    assert warning.where == "line 4, mailboxes[1].transport"
    assert "the environment variable 'URL_A' does not exist here" in warning.rule
    assert "the machine that sends" in warning.remedy


def test_the_example_campaign_is_sound() -> None:
    campaign = read_campaign(DATA / "campaign.toml")
    assert [len(sequence.steps) for sequence in campaign.sequences] == [3, 1]


def test_lines_are_found_in_awkward_documents() -> None:
    document = '''\
a = """
[no.table]
b = 1 """
"c d" = [
  1, # ]
  2,
]
e = { f = 1 }
[t.u]
g = '[x'
[[t.v]]
h = \'\'\'
i = 1
\'\'\'
[[t.v]]
h = "\\"#["
[[t.v.w]]
j = 1
'''
    tomllib.loads(document)
    lines = TomlLines(document)
    expected = {
        "a": 1, "c d": 4, "e.f": 8, "t.u.g": 10, "t.v[1]": 11, "t.v[1].h": 12, "t.v[2].h": 16,
        "t.v[2].w[1].j": 18, "t.v[2].w[1].none": 17, "b": None, "none": None,
    }  # fmt: skip
    assert {path: lines.line(path) for path in expected} == expected


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def test_loading_twice_changes_nothing(connection: Connection) -> None:
    campaign = read_campaign(DATA / "campaign.toml")
    report = load(connection, campaign)
    assert (report.sequences, report.steps, report.mailboxes, report.links) == (2, 4, 3, 5)
    before = stored(connection)
    again = load(connection, campaign)
    assert (again.sequences, again.steps, again.mailboxes, again.links) == (0, 0, 0, 0)
    assert (again.unchanged_sequences, again.known_mailboxes) == (2, 3)
    assert stored(connection) == before
    query = "SELECT name, start_time, holidays, send_days, priority, status FROM sequences"
    rows = connection.execute(text(query + " ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [
        ("Autumn webinar", dt.time(9), "DE", [1, 2, 3, 4, 5], 1, "active"),
        ("Second chance", dt.time(10), "DE", [2, 3, 4], 0.5, "active"),
    ]
    query = "SELECT ramp_start, ramp_increment, ramp_from, transport FROM mailboxes ORDER BY id"
    assert tuple(connection.execute(text(query)).all()[2]) == (
        10, 5, dt.date(2026, 11, 2), "env:SMTP_URL_CHLOE",
    )  # fmt: skip


def test_loading_inside_of_the_callers_transaction(connection: Connection) -> None:
    with connection.begin() as whole:
        load(connection, parse(SOUND))
        whole.rollback()
    assert stored(connection)["sequences"] == []


STORED = [
    # SQL that changes what was loaded, where, what, remedy
    ("UPDATE mailboxes SET daily_capacity = 80 WHERE id = 1", "mailbox 'ann@mail.example'",
     "daily_capacity is 60 here, 80 in the database", "sendplan mailbox"),
    ("UPDATE mailboxes SET transport = 'env:HUNTER2' WHERE id = 1", "mailbox 'ann@mail.example'",
     "transport is another reference than the database", "sendplan mailbox"),
    ("UPDATE sequences SET end_time = '18:00'", "sequence 'Autumn'",
     "end_time is 17:00:00 here, 18:00:00 in the database", "another name"),
    ("UPDATE sequences SET send_days = '{1}'", "sequence 'Autumn'",
     "send_days is [1, 2, 3, 4, 5] here, [1] in the database", "another name"),
    ("UPDATE sequences SET max_new_per_day = 5", "sequence 'Autumn'",
     "max_new_per_day is nothing here, 5 in the database", "sendplan sequence"),
    ("UPDATE sequences SET unsubscribe_url = 'mailto:out@x.example'", "sequence 'Autumn'",
     "unsubscribe_url is nothing here, mailto:out@x.example in the database", "sendplan sequence"),
    ("UPDATE steps SET wait_days = 9 WHERE position = 2", "sequence 'Autumn'", "with other steps",
     "step"),
    ("UPDATE steps SET removed_at = now() WHERE position = 2", "sequence 'Autumn'",
     "with other steps", "step"),
    ("DELETE FROM sequence_mailboxes WHERE mailbox_id = 2", "sequence 'Autumn'",
     "with other mailboxes", "another name"),
    ("INSERT INTO sequences (name, start_time, end_time) VALUES ('Autumn', '09:00', '17:00')",
     "sequence 'Autumn'", "several sequences of that name exist (ids 1, 2)", "another name"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "where", "what", "remedy"), STORED)
def test_what_differs_from_the_database_is_refused(
    connection: Connection, change: str, where: str, what: str, remedy: str
) -> None:
    load(connection, parse(SOUND))
    connection.execute(text(change))
    connection.commit()
    before = stored(connection)
    more = SOUND + SOUND[SOUND.index("[[sequences]]") :].replace("Autumn", "Winter")
    with pytest.raises(DataError) as raised:
        load(connection, parse(more))
    (fault,) = raised.value.faults
    assert fault.where == where
    assert what in fault.rule
    assert remedy in fault.remedy
    assert "HUNTER2" not in str(raised.value)
    assert stored(connection) == before


@pytest.mark.parametrize(
    "pause", ["UPDATE mailboxes SET status = 'paused'", "UPDATE sequences SET status = 'paused'"]
)
def test_a_pause_since_then_is_no_difference(connection: Connection, pause: str) -> None:
    load(connection, parse(SOUND))
    connection.execute(text(pause))
    connection.commit()
    before = stored(connection)
    load(connection, parse(SOUND))
    assert stored(connection) == before


def test_a_stated_status_is_compared(connection: Connection) -> None:
    stated = SOUND.replace(CAPACITY, CAPACITY + 'status = "active"\n')
    stated = stated.replace(WINDOW_END, WINDOW_END + 'status = "active"\n')
    load(connection, parse(stated))
    load(connection, parse(stated))
    for table in ("mailboxes", "sequences"):
        connection.execute(text(f"UPDATE {table} SET status = 'paused'"))
    connection.commit()
    with pytest.raises(DataError) as raised:
        load(connection, parse(stated))
    assert [fault.rule for fault in raised.value.faults] == [
        "status is active here, paused in the database",
        "status is active here, paused in the database",
        "exists already, and status is active here, paused in the database",
    ]


def test_a_new_sequence_needs_an_active_mailbox_in_the_database(connection: Connection) -> None:
    load(connection, parse(SOUND))
    connection.execute(text("UPDATE mailboxes SET status = 'paused'"))
    connection.commit()
    before = stored(connection)
    with pytest.raises(DataError, match=r"'Winter': none of its mailboxes is active \('ann@mail"):
        load(connection, parse(SOUND.replace("Autumn", "Winter")))
    assert stored(connection) == before


def test_a_known_mailbox_is_found_whatever_its_case(connection: Connection) -> None:
    load(connection, parse(SOUND))
    other = SOUND.replace("Autumn", "Winter").replace("ann@", "ANN@")
    report = load(connection, parse(other))
    assert (report.mailboxes, report.known_mailboxes, report.links) == (0, 2, 2)


def test_campaigns_are_values() -> None:
    assert parse(SOUND) == parse(SOUND)
    assert isinstance(parse(SOUND), Campaign)
