"""Contact lists: each kind of bad input, with the line, the column, the value and a remedy."""

from pathlib import Path

import pytest

from sendplan.io.campaigns.contact_list import Contact, parse_contacts, read_contacts
from sendplan.io.documents.addresses import AddressError, address
from sendplan.io.errors import DataError

DATA = Path(__file__).parents[2] / "data"
LONG = "x" * 140_000

BAD = [
    # text, where, what, remedy
    ("", "line 1", "the file is empty", "header and rows"),
    ("\n \n", "line 1", "the file is empty", "header and rows"),
    ("email,first_name\n", "line 2", "the file has no contacts", "one contact a row"),
    ("a@b.example,Ann\n", "line 1", "the header is missing; the first line is 'a@b.example,Ann'",
     "email,first_name"),
    ("name,mail\nAnn,a@b.example\n", "line 1", "no column 'email' among 'name, mail'", "'email'"),
    ("email;name\na@b.example;Ann\n", "line 1", "separated by semicolons: 'email;name'", "commas"),
    ("email\tname\na@b.example\tAnn\n", "line 1", "separated by tabs: 'email\\tname'", "commas"),
    ("email,name,Name\na@b.example,1,2\n", "line 1, column 3",
     "'Name' is the header of column 2 too", "rename or remove"),
    ("email,Email\na@b.example,b@c.example\n", "line 1, column 2",
     "'email' is the header of column 1 too", "rename or remove"),
    ("email,,x\na@b.example,1,2\n", "line 1, column 2", "the header of this column is empty",
     "name"),
    ("email,a\x07b\na@b.example,1\n", "line 1, column 2", "(U+0007) in the header 'a\\x07b'",
     "remove it"),
    ("email,sender\na@b.example,1\n", "line 1, column 2", "'sender' is a variable of sendplan",
     "rename"),
    ("email," + "x" * 101 + "\na@b.example,1\n", "line 1, column 2", "101 characters",
     "100 at most"),
    ("email," + ",".join(f"c{i}" for i in range(200)) + "\n", "line 1", "201 columns", "200"),
    ("email,name\na@b.example\n", "line 2", "1 fields, but the header has 2: 'a@b.example'",
     "missing columns ('name')"),
    ("email,name\na@b.example,Acme, Inc.\n", "line 2",
     "3 fields, but the header has 2: 'a@b.example,Acme, Inc.'", "double quotes"),
    ("email,name\na@b.example,\"Ann\nb@b.example,Ben\n", "line 2",
     "a quote is opened and never closed (read up to line 3)", "close the quote"),
    ("email,\"name\na@b.example,Ann\n", "line 1", "a quote is opened and never closed", "close"),
    ("email,name\na@b.example,\"Ann\" Lee\n", "line 2", "text follows a closing quote",
     "close the"),
    ("email,name\na@b.example,\"" + LONG, "line 2", "a field is longer than 131,072 characters",
     "close the quote"),
    ("email,name\na@b.example," + "x" * 10_001, "line 2, column name", "10,001 characters: 'xxx",
     "10,000 at most"),
    ("email\na@b.example\n\nA@B.example \n", "line 4, column email",
     "'A@B.example ' is already in line 2", "remove one"),
    ("email,x\n ,1\n", "line 2, column email", "no email address", "fill it in"),
    ("email\nann.example\n", "line 2, column email", "no @ in the address: 'ann.example'",
     "name@domain"),
    ("email\na@b.example;c@d.example\n", "line 2, column email",
     "more than one address: 'a@b.example;c@d.example'", "a row of its own"),
    ('email\n"a@b.example, c@d.example"\n', "line 2, column email", "more than one address", "row"),
    ("email\na@b.example c@d.example\n", "line 2, column email", "more than one address", "row"),
    ('email\n"a@b.example\nBcc: evil@x.example"\n', "line 2, column email",
     "a line feed (U+000A) in the address: 'a@b.example\\nBcc: evil@x.example'", "remove it"),
    ('email\n"a@b.example\rBcc: evil@x.example"\n', "line 2, column email",
     "a carriage return (U+000D) in the address", "remove it"),
    ("email\njörg@b.example\n", "line 2, column email",
     "internationalized characters before the @-sign are not supported: 'ö': 'jörg@b.example'",
     "ASCII address"),
    ("email\nAnn <a@b.example>\n", "line 2, column email", "display name", "only the address"),
    ("email\na@@b.example\n", "line 2, column email", "after the @-sign", "only the address"),
    ("email\na..b@c.example\n", "line 2, column email", "two periods in a row", "only the address"),
    ("email\na@localhost\n", "line 2, column email", "should have a period", "only the address"),
    ("email\na@1.2.3.4\n", "line 2, column email", "valid top-level domain", "only the address"),
    ("email\n" + "x" * 65 + "@b.example\n", "line 2, column email", "too long", "only the address"),
    ("email,timezone\na@b.example,Europe/Berln\n", "line 2, column timezone",
     "unknown time zone 'Europe/Berln'", "did you mean 'Europe/Berlin'?"),
    ("email,timezone\na@b.example,new york\n", "line 2, column timezone",
     "unknown time zone 'new york'", "did you mean 'America/New_York'?"),
    ("email,timezone\na@b.example,../etc/passwd\n", "line 2, column timezone",
     "unknown time zone '../etc/passwd'", "IANA name"),
    ("email,timezone\na@b.example,localtime\n", "line 2, column timezone", "unknown time zone",
     "IANA name"),
    ("email,x\na@b.example,a\x1b[2J\n", "line 2, column x", "an escape (U+001B) at character 2",
     "remove it"),
    ('email,x\na@b.example,"a\r\nBcc: evil@x.example"\n', "line 2, column x",
     "a carriage return (U+000D) at character 2", "remove it"),
    ("email,x\na@b.example,a\u2028b\n", "line 2, column x", "line separator (U+2028)", "remove it"),
    ("email,x\na@b.example,a\x85b\n", "line 2, column x", "(U+0085) at character 2", "remove it"),
    ("email,x\na@b.example,=?utf-8?q?Hi=0D=0ABcc:_evil@x?=\n", "line 2, column x",
     "an encoded word that hides a carriage return (U+000D): '=?utf-8?q?Hi", "themselves"),
    ("email,x\na@b.example,=?none?b?!?=\n", "line 2, column x", "an encoded word: '=?none?b?!?='",
     "themselves"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where", "what", "remedy"), BAD, ids=[case[2][:40] for case in BAD]
)
def test_bad_lists(text: str, where: str, what: str, remedy: str) -> None:
    with pytest.raises(DataError) as raised:
        parse_contacts(text, name="list.csv")
    (fault,) = raised.value.faults
    assert fault.where == where
    assert what in fault.rule
    assert remedy in fault.remedy
    message = str(raised.value)
    assert message.startswith("list.csv: 1 problem\n")
    # Whatever the value was, the message is two lines that a terminal can show.
    assert all(line.isprintable() for line in message.split("\n"))
    assert message.count("\n") == 1
    assert len(message) < 500


BAD_BYTES = [
    # content, where, what, remedy
    (b"email,x\na@b.example,J\xf6rg\nb@b.example,ok\nc@b.example,\xff\n",
     ["line 2", "line 4"], ["byte 0xf6 at byte 21 of the file, after 'a@b.example,J'",
                            "byte 0xff at byte 52 of the file"], "UTF-8"),
    ("email,x\na@b.example,1\n".encode("utf-16"), ["line 1"], ["UTF-16, not UTF-8"], "UTF-8"),
    (b"email,x\na@b.example,a\0b\n", ["line 2, character 14"], ["a NUL character, after"],
     "remove"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "wheres", "whats", "remedy"), BAD_BYTES)
def test_bad_files(
    tmp_path: Path, content: bytes, wheres: list[str], whats: list[str], remedy: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_contacts(path)
    faults = raised.value.faults
    assert [fault.where for fault in faults] == wheres
    for fault, what in zip(faults, whats, strict=True):
        assert what in fault.rule
        assert remedy in fault.remedy


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: no such file or directory – check"):
        read_contacts(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot be read: is a directory – check"):
        read_contacts(tmp_path)


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sendplan.io.campaigns.contact_list.MAX_FILE", 2**20)
    path = tmp_path / "list.csv"
    path.write_bytes(b"email\n" + b"x" * 2**20)
    with pytest.raises(DataError, match="larger than 1 MiB – split the file"):
        read_contacts(path)


def test_one_report_names_every_offender() -> None:
    text = "email,timezone,x\nann,Nowhere,a\x07\nb@c.example\n" + "bad,,\n" * 100
    with pytest.raises(DataError) as raised:
        parse_contacts(text)
    assert [fault.where for fault in raised.value.faults[:4]] == [
        "line 2, column email",
        "line 2, column timezone",
        "line 2, column x",
        "line 3",
    ]
    report = raised.value.report(50).split("\n")
    assert report[0] == "contacts: 104 problems"
    assert report[-1] == "… and 54 more"
    assert len(report) == 52


def test_a_sound_list(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    rows = (
        '\ufeff"Email", first_name ,TimeZone,note\r\n'
        ' Ann.Lee@Mail.Example ,Ann,Europe/Berlin,"a, ""b"""\r\n'
        "\r\n"
        "b@bücher.example, ,,\r\n"
    )
    path.write_bytes(rows.encode())
    found = read_contacts(path)
    assert found.columns == ("first_name", "note")
    assert found.contacts == (
        Contact(2, "Ann.Lee@mail.example", "Europe/Berlin",
                {"first_name": "Ann", "note": 'a, "b"'}),
        Contact(4, "b@xn--bcher-kva.example", None, {}),
    )  # fmt: skip


def test_line_numbers_count_lines_of_quoted_fields() -> None:
    text = 'email,x\na@b.example,"1\n2"\nbad,3\n'
    with pytest.raises(DataError) as raised:
        parse_contacts(text)
    assert [fault.where for fault in raised.value.faults] == [
        "line 2, column x",
        "line 4, column email",
    ]


def test_the_example_list_is_sound() -> None:
    assert len(read_contacts(DATA / "contacts.csv").contacts) == 6


ADDRESSES = [
    "a@b.co", "a.b+c@d-e.example", "o'hara@x.example", "1@x.example", "a_b@sub.x.example",
    ".a@x.example", "a.@x.example", "a@-x.example", "a@x-.example", "a@x.e", "a@.example",
    "a@x..example", "a b@x.example", "a@x.example.", "a@[1.2.3.4]", '"a b"@x.example', "a@x.123",
    "a(b)@x.example", "a@x_y.example", "@x.example", "a@", "a@" + "x" * 64 + ".example",
    "a@" + "x." * 130 + "example",
]  # fmt: skip


@pytest.mark.parametrize("text", ADDRESSES)
def test_the_fast_path_takes_nothing_that_the_library_refuses(text: str) -> None:
    from email_validator import EmailNotValidError, validate_email

    try:
        expected = validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        with pytest.raises(AddressError):
            address(text)
    else:
        assert address(text) == expected


def test_fifty_thousand_rows_are_read() -> None:
    header = "email,first_name,company,timezone\n"
    text = header + "".join(
        f"person{i}@company{i % 5000}.example,Ann,Acme {i},Europe/Berlin\n" for i in range(50_000)
    )
    assert len(parse_contacts(text).contacts) == 50_000
