"""Column contracts: what frames may hold, and what is said about the rest."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sendplan.planner.schema.contracts import CONTRACTS, Columns, validate
from sendplan.planner.schema.errors import ProblemError
from sendplan.planner.schema.readers import NULL

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
MICROSECONDS = 1_772_442_000_000_000  # of NINE, since 1970
DAY = 20_514  # 2 March 2026, since 1970

# Two sound rows of every frame, every column present.
SOUND: dict[str, dict[str, list[Any]]] = {
    "sequences": {
        "id": [1, 2],
        "name": ["a", None],
        "start_time": [time(9), time(8, 30)],
        "end_time": [time(17), time(12, 0, 1)],
        "timezone": ["UTC", "Europe/Berlin"],
        "send_days": [[1, 2, 3, 4, 5], [7]],
        "holidays": [None, "DE"],
        "wait_unit": ["calendar", "sending"],
        "priority": [1.0, 2.5],
        "max_new_per_day": [None, 45],
        "status": ["active", "paused"],
    },
    "steps": {
        "id": [11, 12],
        "sequence_id": [1, 1],
        "position": [1, None],
        "wait_days": [0, 3],
        "removed_at": [None, NINE],
    },
    "mailboxes": {
        "id": [5, 6],
        "email": ["m5@example.org", None],
        "daily_capacity": [10, 0],
        "min_gap_seconds": [0, 60],
        "ramp_start": [None, 1],
        "ramp_increment": [None, 2],
        "ramp_from": [None, date(2026, 3, 2)],
        "status": ["active", "removed"],
    },
    "sequence_mailboxes": {"sequence_id": [1, 2], "mailbox_id": [5, 5]},
    "enrollments": {
        "id": [1, 2],
        "contact_id": [100, None],
        "sequence_id": [1, 1],
        "enrolled_at": [NINE, NINE],
        "current_step_id": [None, 11],
        "completed_at": [None, NINE],
        "mailbox_id": [None, 5],
        "status": ["active", "completed"],
        "contact_timezone": [None, "Asia/Tokyo"],
        "last_sent_day": [None, date(2026, 3, 2)],
        "suppressed_at": [None, NINE],
    },
    "scheduled_emails": {
        "id": [1, 2],
        "enrollment_id": [1, 2],
        "step_id": [11, 11],
        "mailbox_id": [None, 5],
        "send_day": [None, date(2026, 3, 2)],
        "send_at": [None, NINE],
        "sent_at": [None, NINE],
        "plan_run_id": [None, 1],
        "unplaced_reason": ["no_room", None],
        "status": ["pending", "sent"],
        "retry_at": [NINE, None],
    },
    "used": {"mailbox_id": [5, 6], "send_day": [date(2026, 3, 2)] * 2, "used": [1, 2]},
    "contact_days": {"contact_id": [5, 6], "send_day": [date(2026, 3, 2)] * 2},
    "days_off": {"sequence_id": [1, 1], "day": [date(2026, 12, 24), date(2026, 12, 25)]},
}
ALL_COLUMNS = [(name, column) for name, contract in CONTRACTS.items() for column in contract]


def frame(table: str, /, **columns: Any) -> pd.DataFrame:
    """Give the sound frame with some columns replaced."""
    chosen = SOUND[table] | columns
    return pd.DataFrame({key: pd.Series(values, dtype=object) for key, values in chosen.items()})


def refusal(name: str, given: Any) -> str:
    with pytest.raises(ProblemError) as caught:
        validate(name, given)
    return str(caught.value)


# ---------------------------------------------------------------- what is accepted


def test_every_column_in_its_canonical_form() -> None:
    assert {name: set(columns) for name, columns in SOUND.items()} == {
        name: set(contract) for name, contract in CONTRACTS.items()
    }
    sequences = validate("sequences", frame("sequences"))
    assert sequences.to_dict("list") == {
        "id": [1, 2],
        "name": ["a", None],
        "start_time": [32_400, 30_600],
        "end_time": [61_200, 43_201],
        "timezone": ["UTC", "Europe/Berlin"],
        "send_days": [(1, 2, 3, 4, 5), (7,)],
        "holidays": [None, "DE"],
        "wait_unit": ["calendar", "sending"],
        "priority": [1.0, 2.5],
        "max_new_per_day": [NULL, 45],
        "status": ["active", "paused"],
    }
    mailboxes = validate("mailboxes", frame("mailboxes"))
    assert mailboxes["ramp_from"].tolist() == [NULL, DAY]
    emails = validate("scheduled_emails", frame("scheduled_emails"))
    assert emails["sent_at"].tolist() == [NULL, MICROSECONDS]
    assert emails["send_day"].tolist() == [NULL, DAY]


def test_a_column_left_out_takes_the_tables_default() -> None:
    def filled(name: str) -> dict[str, Any]:
        required = [key for key, column in CONTRACTS[name].items() if column.required]
        row: dict[str, Any] = validate(name, frame(name)[required]).iloc[0].to_dict()
        return {key: value for key, value in row.items() if key not in required}

    assert filled("sequences") == {
        "name": None,
        "timezone": "UTC",
        "send_days": (1, 2, 3, 4, 5),
        "holidays": None,
        "wait_unit": "calendar",
        "priority": 1.0,
        "max_new_per_day": NULL,
        "status": "active",
    }
    assert filled("steps") == {"wait_days": 0, "removed_at": NULL}
    assert filled("mailboxes") == {
        "email": None,
        "min_gap_seconds": 0,
        "ramp_start": NULL,
        "ramp_increment": NULL,
        "ramp_from": NULL,
        "status": "active",
    }
    assert filled("enrollments") == {
        "contact_id": NULL,
        "current_step_id": NULL,
        "completed_at": NULL,
        "mailbox_id": NULL,
        "status": "active",
        "contact_timezone": None,
        "last_sent_day": NULL,
        "suppressed_at": NULL,
    }
    assert filled("scheduled_emails")["status"] == "pending"


INTEGER_DTYPES: list[Callable[[pd.Series], pd.Series]] = [
    lambda series: series.astype("Int64"),
    lambda series: series.astype("Int32"),
    lambda series: series.astype("float64"),
    lambda series: series.astype("Float64"),
    lambda series: series.map(lambda v: None if v is None else float(v)).astype(object),
    lambda series: series.map(lambda v: np.nan if v is None else np.int64(v)).astype(object),
    lambda series: series.map(lambda v: pd.NA if v is None else v).astype(object),
]
TEXT_DTYPES: list[Callable[[pd.Series], pd.Series]] = [
    lambda series: series.astype("string"),
    lambda series: series.astype("str"),
    lambda series: series.astype("category"),
    lambda series: series.astype("string").astype("category"),
    lambda series: series.map(lambda v: np.nan if v is None else v).astype(object),
]
BERLIN_NANOSECONDS = "datetime64[ns, Europe/Berlin]"
INSTANT_DTYPES: list[Callable[[pd.Series], pd.Series]] = [
    lambda series: pd.to_datetime(series, utc=True),
    lambda series: pd.to_datetime(series, utc=True).astype("datetime64[s, UTC]"),
    lambda series: pd.to_datetime(series, utc=True).astype(BERLIN_NANOSECONDS),
    lambda series: series.map(lambda v: None if v is None else v.isoformat()).astype(object),
    lambda series: series.map(lambda v: None if v is None else v.isoformat()).astype("string"),
    lambda series: series.map(lambda v: v and v.astimezone(timezone(timedelta(hours=-3)))),
    lambda series: series.map(lambda v: pd.NaT if v is None else pd.Timestamp(v)).astype(object),
    lambda series: series.map(lambda v: v and f"{v:%Y-%m-%d %H:%M:%S}Z").astype(object),
]
DATE_DTYPES: list[Callable[[pd.Series], pd.Series]] = [
    lambda series: pd.to_datetime(series),
    lambda series: pd.to_datetime(series).astype("datetime64[ns]"),
    lambda series: pd.to_datetime(series).astype("datetime64[s]"),
    lambda series: series.map(lambda v: None if v is None else v.isoformat()).astype(object),
    lambda series: series.map(lambda v: None if v is None else v.isoformat()).astype("string"),
    lambda series: series.map(lambda v: pd.NaT if v is None else v).astype(object),
]
TIME_DTYPES: list[Callable[[pd.Series], pd.Series]] = [
    lambda series: series.map(lambda v: v.isoformat()).astype("string"),
    lambda series: series.map(lambda v: f"{v:%H:%M:%S}.000").astype(object),
    lambda series: pd.to_timedelta(series.map(lambda v: v.isoformat())),
]
WEEKDAYS: list[Callable[[pd.Series], pd.Series]] = [
    lambda series: series.map(lambda days: tuple(reversed(days))),
    lambda series: series.map(lambda days: np.array(days, dtype=np.int16)),
    lambda series: series.map(lambda days: [float(day) for day in days] + days),
]
NUMBERS: list[Callable[[pd.Series], pd.Series]] = [
    lambda series: series.astype("Float64"),
    lambda series: series.astype("float32"),
    lambda series: series.map(str).astype(object),
]
FORMS = {
    "key": INTEGER_DTYPES,
    "integer": INTEGER_DTYPES,
    "text": TEXT_DTYPES,
    "instant": INSTANT_DTYPES,
    "date": DATE_DTYPES,
    "time": TIME_DTYPES,
    "weekdays": WEEKDAYS,
    "number": NUMBERS,
}


@pytest.mark.parametrize(
    ("kind", "form"),
    [(kind, number) for kind, forms in FORMS.items() for number in range(len(forms))],
)
def test_every_form_of_a_column_gives_the_same_canonical_frame(kind: str, form: int) -> None:
    for name, contract in CONTRACTS.items():
        given = frame(name)
        for column, rules in contract.items():
            if rules.kind == kind:
                given[column] = FORMS[kind][form](given[column])
        assert_frame_equal(validate(name, given), validate(name, frame(name)))


def test_large_ids_stay_exact_beside_a_null() -> None:
    # 2⁵³ + 1 is the first whole number that no float64 holds.
    large = 2**53 + 1
    emails = validate("scheduled_emails", frame("scheduled_emails", plan_run_id=[None, large]))
    assert emails["plan_run_id"].tolist() == [NULL, large]


def test_columns_that_are_not_in_the_contract_are_ignored() -> None:
    given = frame("steps").assign(subject="hello", content=[object(), object()])
    assert_frame_equal(validate("steps", given), validate("steps", frame("steps")))


def test_the_index_means_nothing() -> None:
    given = frame("steps").set_axis([7, 7])
    assert_frame_equal(validate("steps", given), validate("steps", frame("steps")))


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_frames_handed_in_stay_as_they_are(name: str) -> None:
    given = frame(name)
    before = given.copy(deep=True)
    result = validate(name, given)
    for column in result.columns:
        result[column] = result[column].iloc[::-1].to_numpy()
    assert_frame_equal(given, before)


@pytest.mark.parametrize("dtype", [object, "float64", "Int64"])
@pytest.mark.parametrize("name", CONTRACTS)
def test_empty_frames_are_frames(name: str, dtype: str) -> None:
    empty = pd.DataFrame({column: [] for column in CONTRACTS[name]}, dtype=dtype)
    result = validate(name, empty)
    assert len(result) == 0
    assert_frame_equal(result, validate(name, frame(name)).iloc[:0])


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("name", "column"), [(n, c) for n, c in ALL_COLUMNS if CONTRACTS[n][c].required]
)
def test_a_missing_column_is_named(name: str, column: str) -> None:
    message = refusal(name, frame(name).drop(columns=column))
    assert message == f"{name}.{column}: the column is missing – add it"


@pytest.mark.parametrize(
    ("name", "column"), [(n, c) for n, c in ALL_COLUMNS if not CONTRACTS[n][c].nullable]
)
def test_a_missing_value_is_named_with_its_row(name: str, column: str) -> None:
    values = [SOUND[name][column][0], None]
    message = refusal(name, frame(name, **{column: values}))
    assert message.startswith(f"{name}.{column}: ")
    assert "(1: " in message
    if CONTRACTS[name][column].kind != "weekdays":
        assert "a value is missing" in message


@pytest.mark.parametrize("name", ["sequences", "steps", "mailboxes", "enrollments"])
def test_offenders_are_looked_up_by_id(name: str) -> None:
    status = "status" if "status" in CONTRACTS[name] else "wait_days"
    key = SOUND[name]["id"][1]
    values = [SOUND[name][status][0], None]
    assert f"(1: id {key})" in refusal(name, frame(name, **{status: values}))


WRONG_KINDS = [
    ("steps", "wait_days", 1.5, "must hold whole numbers (1: row 1: 1.5)"),
    ("steps", "wait_days", "two", "must hold whole numbers (1: row 1: 'two')"),
    ("steps", "wait_days", float("inf"), "must hold whole numbers"),
    ("steps", "id", NINE, "must hold whole numbers"),
    ("sequences", "priority", "high", "must hold numbers (1: row 1: 'high')"),
    ("sequences", "name", 7, "must hold text (1: row 1: 7)"),
    ("sequences", "timezone", 2, "must hold text"),
    ("sequences", "start_time", "9 o'clock", 'must hold times of day (1: row 1: "9 o\'clock")'),
    ("sequences", "start_time", "09:60", "must hold times of day"),
    ("sequences", "start_time", time(9, 0, 0, 5), "must hold times of day"),
    ("sequences", "start_time", time(9, tzinfo=UTC), "must hold times of day"),
    ("sequences", "start_time", 9, "must hold times of day"),
    ("sequences", "start_time", "24:00", "must be at most 86399 (1: id 2 has 86400)"),
    ("sequences", "end_time", "24:01", "must be at most 86400 (1: id 2 has 86460)"),
    ("sequences", "end_time", "00:00", "must be at least 1 (1: id 2 has 0)"),
    ("sequences", "send_days", [], "at least one ISO weekday"),
    ("sequences", "send_days", [0, 1], "at least one ISO weekday"),
    ("sequences", "send_days", [8], "at least one ISO weekday, 1 (Monday) to 7 (Sunday)"),
    ("sequences", "send_days", "Mon", "at least one ISO weekday"),
    ("sequences", "send_days", 3, "at least one ISO weekday"),
    ("mailboxes", "ramp_from", "soon", "must hold dates (1: row 1: 'soon')"),
    ("enrollments", "enrolled_at", datetime(2026, 3, 2, 9), "must hold times with a zone (1: "),
    ("enrollments", "enrolled_at", "2026-03-02 09:00", "must hold times with a zone"),
    ("enrollments", "enrolled_at", "2026-03-02", "must hold times with a zone"),
    ("enrollments", "enrolled_at", date(2026, 3, 2), "must hold times with a zone"),
    ("enrollments", "enrolled_at", 1_772_442_000, "must hold times with a zone"),
    ("enrollments", "enrolled_at", "yesterday+00:00", "must hold times (1: "),
]


@pytest.mark.parametrize(("name", "column", "value", "message"), WRONG_KINDS)
def test_a_value_of_the_wrong_kind_is_named(
    name: str, column: str, value: Any, message: str
) -> None:
    given = frame(name, **{column: [SOUND[name][column][0], value]})
    refused = refusal(name, given)
    assert refused.startswith(f"{name}.{column}: ")
    assert message in refused


def test_naive_columns_and_true_and_false_are_refused_whole() -> None:
    naive = frame("enrollments").assign(enrolled_at=pd.to_datetime(["2026-03-02", "2026-03-03"]))
    assert "enrollments.enrolled_at: must hold times with a zone (2: " in refusal(
        "enrollments", naive
    )
    flags = frame("mailboxes").assign(daily_capacity=[True, False])
    assert "must hold whole numbers, not true and false" in refusal("mailboxes", flags)
    moments = frame("used").assign(send_day=pd.to_datetime([NINE, NINE]))
    assert "used.send_day: must hold dates, not points in time" in refusal("used", moments)


@pytest.mark.parametrize(
    ("name", "column"), [(n, c) for n, c in ALL_COLUMNS if CONTRACTS[n][c].choices is not None]
)
def test_an_unknown_word_is_named_with_the_known_ones(name: str, column: str) -> None:
    message = refusal(name, frame(name, **{column: [SOUND[name][column][0], "activ"]}))
    known = ", ".join(CONTRACTS[name][column].choices)
    assert message == (f"{name}.{column}: holds an unknown word (1: 'activ') – use one of {known}")


@pytest.mark.parametrize(
    ("name", "column", "value", "rule"),
    [
        ("sequences", "priority", 0, "finite and above 0"),
        ("sequences", "priority", -1, "finite and above 0"),
        ("sequences", "priority", float("inf"), "finite and above 0"),
        ("sequences", "max_new_per_day", -1, "at least 0"),
        ("steps", "position", 0, "at least 1"),
        ("steps", "wait_days", -1, "at least 0"),
        ("steps", "wait_days", 3651, "at most 3650"),
        ("mailboxes", "daily_capacity", -1, "at least 0"),
        ("mailboxes", "min_gap_seconds", -1, "at least 0"),
        ("mailboxes", "ramp_start", -1, "at least 0"),
        ("mailboxes", "ramp_increment", -1, "at least 0"),
        ("used", "used", -1, "at least 0"),
    ],
)
def test_a_number_out_of_range_is_named_with_its_limit(
    name: str, column: str, value: float, rule: str
) -> None:
    message = refusal(name, frame(name, **{column: [SOUND[name][column][0], value]}))
    assert f"{name}.{column}: must be {rule} (1: " in message
    assert f" has {float(value) if column == 'priority' else value})" in message


def test_what_is_no_frame_is_refused() -> None:
    assert refusal("steps", None) == "steps: must be a DataFrame, not NoneType – pass a frame"
    assert "not list" in refusal("steps", [{"id": 1}])


def test_every_fault_of_a_frame_is_told_and_the_first_five_offenders() -> None:
    rows = 8
    given = pd.DataFrame(
        {"id": range(1, rows + 1), "sequence_id": 1, "wait_days": -1, "removed_at": "then"}
    )
    with pytest.raises(ProblemError) as caught:
        validate("steps", given)
    assert [fault.where for fault in caught.value.faults] == [
        "steps.position",
        "steps.wait_days",
        "steps.removed_at",
    ]
    named = ", ".join(f"id {key} has -1" for key in range(1, 6))
    assert f"at least 0 (8: {named}, and 3 more) – correct" in str(caught.value)


# ---------------------------------------------------------------- what is canonical already


def columns(table: str, /, **changed: Any) -> Columns:
    """Give the sound frame's canonical columns with some replaced."""
    sound = validate(table, frame(table))
    return Columns({str(key): sound[key].to_numpy() for key in sound} | changed)


@pytest.mark.parametrize("name", list(CONTRACTS))
def test_canonical_columns_are_kept_as_they_are(name: str) -> None:
    given = columns(name)
    kept = validate(name, given)
    assert_frame_equal(kept, validate(name, frame(name)))
    assert all(np.shares_memory(kept[key].to_numpy(), given.of[str(key)]) for key in kept)


def test_words_may_come_as_codes() -> None:
    status = pd.Categorical.from_codes([3, 1], categories=["x", "sent", "y", "pending"])
    reason = pd.Categorical.from_codes([0, -1], categories=["no_room"])
    given = columns("scheduled_emails", status=status, unplaced_reason=reason)
    assert_frame_equal(
        validate("scheduled_emails", given),
        validate("scheduled_emails", frame("scheduled_emails")),
    )


def test_a_canonical_column_left_out_takes_the_tables_default() -> None:
    given = {"id": np.array([1, 2]), "sequence_id": np.array([1, 1]), "position": np.array([1, 2])}
    kept = validate("steps", Columns(given))
    assert_frame_equal(kept, validate("steps", pd.DataFrame(given)))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("steps", {"wait_days": np.array([0, -1])}),
        ("steps", {"sequence_id": np.array([1, NULL])}),
        ("sequences", {"priority": np.array([1.0, 0.0])}),
        ("sequences", {"status": pd.Categorical(["active", "open"])}),
        ("sequences", {"status": pd.Categorical(["active", None])}),
        ("sequences", {"timezone": pd.Categorical([None, "UTC"])}),
        ("sequence_mailboxes", {"mailbox_id": np.array([NULL, NULL])}),
    ],
)
def test_canonical_columns_are_checked_as_frames_are(name: str, changed: dict[str, Any]) -> None:
    wrong = {
        key: [None if pd.isna(value) or value == NULL else value for value in values]
        for key, values in changed.items()
    }
    with pytest.raises(ProblemError) as caught:
        validate(name, columns(name, **changed))
    assert str(caught.value) == refusal(name, frame(name, **wrong))


def test_a_canonical_column_that_is_missing_is_named() -> None:
    given = {key: values for key, values in columns("steps").of.items() if key != "position"}
    with pytest.raises(ProblemError, match=r"steps\.position: the column is missing"):
        validate("steps", Columns(given))


@pytest.mark.parametrize(
    "changed",
    [
        {"id": np.array([1, 2], dtype=np.int32)},
        {"id": np.array([1.0, 2.0])},
        {"removed_at": np.array(["NaT", "NaT"], dtype="datetime64[us]")},
    ],
)
def test_what_is_not_canonical_is_the_callers_mistake(changed: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"steps.{next(iter(changed))} comes as "):
        validate("steps", columns("steps", **changed))


def test_no_rows_are_canonical_too() -> None:
    empty = {key: values[:0] for key, values in columns("scheduled_emails").of.items()}
    empty["status"] = pd.Categorical.from_codes([], categories=["pending"])
    assert len(validate("scheduled_emails", Columns(empty))) == 0
