"""The benchmarks run, and the original design that they compare with is simulated right."""

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg2
import pytest

import sendplan
from sendplan.benchmarks import dispatching, nightly, recalc_locks, results, studies
from sendplan.benchmarks.accounts import Enrollment, Row, account, standing
from sendplan.benchmarks.baselines import Order, Outcome, day_by_day
from sendplan.benchmarks.copying import copy_in, read
from sendplan.benchmarks.designs import DESIGNS
from sendplan.benchmarks.scratch import libpq
from sendplan.benchmarks.storage_nights import Bench
from sendplan.planner.synthetic import instances as synthetic
from sendplan.tests.worlds.oracle.judge import judge

NOW = dt.datetime(2026, 11, 23, 2, tzinfo=dt.UTC)  # a Monday
Frames = dict[str, pd.DataFrame]


def campaign(
    *, contacts: int, capacities: list[int], waits: list[int], max_new: int | None = None,
    send_days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7),
) -> Frames:  # fmt: skip
    """One sequence whose contacts are all new, sending from 09:00 to 17:00 UTC."""
    nothing: Any = pd.array([None], dtype="Int64")
    return {
        "sequences": pd.DataFrame(
            {
                "id": [1],
                "start_time": [dt.time(9)],
                "end_time": [dt.time(17)],
                "timezone": "UTC",
                "send_days": [list(send_days)],
                "holidays": [None],
                "wait_unit": "calendar",
                "priority": 1.0,
                "max_new_per_day": pd.array([max_new], dtype="Int64"),
            }
        ),
        "steps": pd.DataFrame(
            {
                "id": np.arange(len(waits)) + 1,
                "sequence_id": 1,
                "position": np.arange(len(waits)) + 1,
                "wait_days": waits,
            }
        ),
        "mailboxes": pd.DataFrame(
            {
                "id": np.arange(len(capacities)) + 1,
                "daily_capacity": capacities,
                "ramp_start": nothing.repeat(len(capacities)),
                "ramp_increment": nothing.repeat(len(capacities)),
                "ramp_from": pd.Series([pd.NaT] * len(capacities), dtype="datetime64[us]"),
                "status": "active",
            }
        ),
        "sequence_mailboxes": pd.DataFrame(
            {"sequence_id": 1, "mailbox_id": np.arange(len(capacities)) + 1}
        ),
        "enrollments": pd.DataFrame(
            {
                "id": np.arange(contacts) + 1,
                "contact_id": np.arange(contacts) + 1,
                "sequence_id": 1,
                "enrolled_at": pd.Timestamp(NOW),
                "current_step_id": nothing.repeat(contacts),
                "mailbox_id": nothing.repeat(contacts),
                "contact_timezone": None,
                "last_sent_day": pd.Series([pd.NaT] * contacts, dtype="datetime64[us]"),
            }
        ),
    }


def by_day(outcome: Outcome) -> list[list[int]]:
    """First emails and follow-ups of each day."""
    counts = pd.crosstab(outcome.sends["send_day"], outcome.sends["position"])
    return counts.to_numpy().tolist()


@pytest.mark.parametrize("order", Order)
def test_worked_example_of_the_peers_with_room(order: Order) -> None:
    # 45 new a day, each with a follow-up the day after: 45, 45 + 45, 10 + 45, 10.
    frames = campaign(contacts=100, capacities=[100], waits=[0, 1], max_new=45)
    outcome = day_by_day(frames, NOW, order)
    assert by_day(outcome) == [[45, 0], [45, 45], [10, 45], [0, 10]]
    # 45 contacts start a day late and 10 two days; both of their emails are as late.
    assert outcome.cost == 2 * (45 * 1 + 10 * 2)
    assert outcome.late_follow_ups == 0
    assert outcome.finish_day == dt.date(2026, 11, 26)


def test_worked_example_of_the_peers_short_of_room() -> None:
    frames = campaign(contacts=100, capacities=[80], waits=[0, 1], max_new=45)
    outcome = day_by_day(frames, NOW, Order.FOLLOW_UPS_FIRST)
    # The 45 follow-ups leave room for 35 first emails, whose follow-ups leave room for all.
    assert by_day(outcome) == [[45, 0], [35, 45], [20, 35], [0, 20]]
    assert outcome.cost == 2 * (35 * 1 + 20 * 2)
    assert outcome.late_follow_ups == 0


def test_first_in_first_out_lets_the_older_go_first_whatever_they_are() -> None:
    frames = campaign(contacts=6, capacities=[2], waits=[0, 1])
    outcome = day_by_day(frames, NOW, Order.FIRST_IN_FIRST_OUT)
    # All six were ready on the first day, so the first follow-ups, ready on the second and third,
    # wait for the fourth: they slip 2 and 1 days, and so does the pair after them, ready on the
    # fourth and sent on the sixth.
    assert by_day(outcome) == [[2, 0], [2, 0], [2, 0], [0, 2], [0, 2], [0, 2]]
    assert outcome.late_follow_ups == 6
    assert outcome.slip_days == 2 * (2 + 2 + 2)
    assert outcome.lateness_days == 2 * (1 + 2) + 2 * (2 + 3 + 4)
    assert outcome.cost == outcome.lateness_days + 20 * outcome.slip_days


def test_contacts_without_a_mailbox_take_the_one_with_most_room_and_stay() -> None:
    frames = campaign(contacts=5, capacities=[2, 4], waits=[0, 3])
    sends = day_by_day(frames, NOW, Order.FOLLOW_UPS_FIRST).sends
    first = sends[sends["position"] == 1].set_index("enrollment_id")["mailbox_id"]
    # Room 2 and 4: the second mailbox twice, then both in turn, the first one first on a tie.
    assert first.sort_index().tolist() == [2, 2, 1, 2, 1]
    follow_up = sends[sends["position"] == 2].set_index("enrollment_id")["mailbox_id"]
    assert follow_up.sort_index().equals(first.sort_index())


def test_waits_run_on_to_the_next_sending_day() -> None:
    frames = campaign(contacts=1, capacities=[1], waits=[0, 5], send_days=(1, 2, 3, 4, 5))
    sends = day_by_day(frames, NOW, Order.FIRST_IN_FIRST_OUT).sends
    # Monday + 5 is a Saturday.
    assert sends["send_day"].dt.date.tolist() == [dt.date(2026, 11, 23), dt.date(2026, 11, 30)]


def test_ramps_lower_the_room() -> None:
    frames = campaign(contacts=6, capacities=[10], waits=[0])
    frames["mailboxes"] = frames["mailboxes"].assign(
        ramp_start=pd.array([1], dtype="Int64"),
        ramp_increment=pd.array([2], dtype="Int64"),
        ramp_from=pd.Series([pd.Timestamp("2026-11-24")], dtype="datetime64[us]"),
    )
    outcome = day_by_day(frames, NOW, Order.FIRST_IN_FIRST_OUT)
    # Nothing before the ramp, then 1, 3 and what is left.
    assert by_day(outcome) == [[1], [3], [2]]
    assert outcome.sends["send_day"].min() == pd.Timestamp("2026-11-24")


@pytest.mark.parametrize("variant", ["plain", "mixed"])
@pytest.mark.parametrize("order", Order)
def test_everything_is_sent_in_order_and_within_capacity(order: Order, variant: str) -> None:
    frames = synthetic.reference(1_000, 4, mixed=variant == "mixed")
    sends = day_by_day(frames, synthetic.REFERENCE_NOW, order).sends
    chain = sends.sort_values(["enrollment_id", "position"]).groupby("enrollment_id")
    assert (chain["position"].diff().dropna() == 1).all()
    assert (chain["send_day"].diff().dropna().dt.days >= 1).all()
    assert (chain["mailbox_id"].min() == chain["mailbox_id"].max()).all()
    used = sends.groupby(["mailbox_id", "send_day"]).size().reset_index(name="used")
    capacity = frames["mailboxes"].set_index("id")["daily_capacity"]
    assert (used["used"] <= used["mailbox_id"].map(capacity)).all()
    lengths = frames["steps"].groupby("sequence_id").size()
    last = chain["position"].max()
    people = frames["enrollments"].set_index("id")["sequence_id"]
    assert (last == people.loc[last.index].map(lengths)).all()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["plain", "mixed"])
@pytest.mark.parametrize("order", Order)
def test_the_oracle_accepts_the_daily_job_and_its_cost(order: Order, variant: str) -> None:
    frames = synthetic.reference(120, 2, owners=1, mixed=variant == "mixed")
    frames["mailboxes"]["daily_capacity"] = 7
    frames["mailboxes"]["min_gap_seconds"] = 0
    now = synthetic.REFERENCE_NOW
    outcome = day_by_day(frames, now, order)
    sends = outcome.sends.assign(send_at=pd.Timestamp(now))
    unplaced = pd.DataFrame({"enrollment_id": [], "step_id": [], "reason": []})
    # The job decides days only, and does not know of contacts in two sequences.
    not_decided = {"window", "minutes", "gap", "contact"}
    complaints = judge(frames, now, sends, unplaced, outcome.cost, outcome.finish_day)
    assert [c for c in complaints if c.split(":")[0] not in not_decided] == []


def test_looking_ahead_is_cheaper() -> None:
    frames = synthetic.reference(5_000, 20)
    problem = sendplan.Problem.from_frames(
        **{name: frame for name, frame in frames.items() if name != "contacts"},
        now=synthetic.REFERENCE_NOW,
    )
    plan = sendplan.solve(problem, method="greedy")
    daily = day_by_day(frames, synthetic.REFERENCE_NOW, Order.FIRST_IN_FIRST_OUT)
    assert len(plan.sends) == len(daily.sends)
    assert plan.cost < daily.cost / 2
    assert plan.late_follow_ups < daily.late_follow_ups / 2


@pytest.mark.slow
def test_nightly_benchmark_runs_at_the_smallest_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], empty_database_url: str
) -> None:
    output = tmp_path / "RESULTS.md"
    arguments = ["--sizes", "100,200", "--runs", "1", "--server", empty_database_url]
    nightly.main([*arguments, "--output", str(output)])
    text = output.read_text()
    for title in ("First night", "Again, nothing changed", "Ordinary night", "the limits"):
        assert title in text
    again = text.split("## Again")[1].split("##")[0]
    # The last cell: rows written when nothing has changed.
    assert [line.split("|")[-2].strip() for line in again.splitlines() if "| 100 " in line] == ["0"]
    assert capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def storage_bench(module_database_url: str) -> Iterator[Bench]:
    bench = Bench(libpq(module_database_url), contacts=300, mailboxes=2)
    yield bench
    bench.close()


@pytest.mark.parametrize("design", DESIGNS)
def test_every_storage_design_writes_the_same_nights(storage_bench: Bench, design: str) -> None:
    nights = storage_bench.run(DESIGNS[design], "all keys and indexes", claiming=False)
    # 3 new contacts with all of their emails, and 3 % of the others moved.
    assert nights["first night"].rows >= len(storage_bench.plan["step_id"])
    if design != "delete":
        assert nights["first night"].rows == len(storage_bench.plan["step_id"])
        assert 9 <= nights["ordinary night"].rows < 100
        assert nights["unchanged night"].rows == 0
    with storage_bench.session("night") as session:
        rows = {name: np.sort(column) for name, column in DESIGNS[design].seen(session).items()}
    assert (rows["plan_run_id"] > 0).all()
    # Dispatchers must find work on all nights: no design may take the backlog of run 1 over.
    assert (rows["plan_run_id"] == 1).sum() == 300
    assert len(np.unique(rows["id"])) == len(rows["id"])


def test_binary_rows_come_back_as_they_went_in(database_url: str) -> None:
    columns = {
        "a": np.array([1, -(2**62)]),
        "b": np.array([7, -7], dtype=np.int32),
        "c": np.array(["2026-11-23", "1969-12-31"], dtype="datetime64[D]"),
        "d": np.array(["2026-11-23T09:00:00.000001", "1999-12-31"], dtype="datetime64[us]"),
    }
    with closing(psycopg2.connect(libpq(database_url))) as session:
        with session.cursor() as cursor:
            cursor.execute("CREATE TABLE kinds (a bigint, b integer, c date, d timestamptz)")
            copy_in(session, "kinds", columns)
            cursor.execute("SELECT d AT TIME ZONE 'UTC' FROM kinds ORDER BY a DESC")
            assert cursor.fetchone() == (dt.datetime(2026, 11, 23, 9, 0, 0, 1),)
        kinds = {name: column.dtype for name, column in columns.items()}
        rows = read(session, "SELECT * FROM kinds ORDER BY a DESC", kinds)
    for name, column in columns.items():
        np.testing.assert_array_equal(rows[name], column)
        assert rows[name].dtype == column.dtype


SENT = Row("<1>", "sent", enrollment_id=1, position=1, mailbox_id=1, planned=True)
FOLLOW_UP = SENT._replace(message_id="<2>", position=2)
WAITING = SENT._replace(message_id=None, status="pending", enrollment_id=2)
ROOM = {1: 3}


def faults(
    accepted: list[str],
    rows: list[Row],
    capacity: int = 3,
    enrollments: tuple[Enrollment, ...] = (),
) -> dict[str, int]:
    found = account(accepted, rows, {1: capacity}, enrollments).faults
    return {fault: count for fault, count in found.items() if count}


def test_an_account_without_faults_is_sound() -> None:
    uncertain = SENT._replace(message_id="<3>", status="uncertain", enrollment_id=3)
    unheard = uncertain._replace(message_id="<4>", enrollment_id=4)
    rows = [SENT, FOLLOW_UP, uncertain, unheard, WAITING]
    full = account(["<1>", "<3>", "<2>"], rows, {1: 4}, [])
    assert full.sound
    assert (full.uncertain_accepted, full.uncertain_not_accepted) == (1, 1)
    # The two sent and the two uncertain ones use the day up, so that the fifth has to wait.
    assert (full.standing.full, full.standing.no_room) == (1, 1)


@pytest.mark.parametrize(
    ("accepted", "rows", "fault"),
    [
        (["<1>", "<1>", "<2>"], [SENT, FOLLOW_UP], "accepted more than once"),
        (["<1>", "<9>"], [SENT], "accepted, but unknown to the tables"),
        (
            ["<1>"],
            [SENT._replace(status="failed")],
            "accepted, but neither sent nor uncertain",
        ),
        ([], [SENT], "sent, but never accepted"),
        (["<1>"], [SENT, FOLLOW_UP._replace(status="claimed")], "still in hand"),
        (["<1>"], [SENT, WAITING], "pending, though it could have left"),
        (["<2>", "<1>"], [SENT, FOLLOW_UP], "follow-ups accepted before the step before"),
        (
            ["<1>", "<2>"],
            [SENT, FOLLOW_UP._replace(planned=False)],
            "provisional, but no longer pending",
        ),
    ],
)
def test_an_account_finds_what_must_not_be(
    accepted: list[str], rows: list[Row], fault: str
) -> None:
    assert faults(accepted, rows)[fault] == 1
    assert faults(["<1>", "<2>"], [SENT, FOLLOW_UP]) == {}


def test_an_account_counts_what_a_mailbox_sent_by_the_tables_and_by_the_log() -> None:
    above = {f"mailbox-days above capacity, by the {where}" for where in ("tables", "log")}
    assert set(faults(["<1>", "<2>"], [SENT, FOLLOW_UP], capacity=1)) == above


@pytest.mark.parametrize(
    ("position", "status", "rows", "astray"),
    [
        (1, "active", [SENT, FOLLOW_UP._replace(status="pending")], False),
        (2, "completed", [SENT, FOLLOW_UP], False),
        (0, "active", [SENT, FOLLOW_UP._replace(status="pending")], True),
        (2, "active", [SENT, FOLLOW_UP], True),
        (1, "active", [SENT], True),
    ],
    ids=["before its follow-up", "at its end", "left behind", "not completed", "without a row"],
)
def test_an_enrollment_stands_at_its_last_sent_email_and_goes_on(
    position: int, status: str, rows: list[Row], astray: bool
) -> None:
    sent = [str(row.message_id) for row in rows if row.status == "sent"]
    found = faults(sent, rows, enrollments=(Enrollment(1, 2, position, status),))
    assert ("enrollments that do not stand where they should" in found) == astray


def test_what_waits_for_another_email_is_not_free_to_leave() -> None:
    behind = WAITING._replace(position=2)
    first = WAITING._replace(status="uncertain")
    stand = standing([first, behind, WAITING._replace(enrollment_id=3)], ROOM)
    assert (stand.behind, stand.free, stand.left) == (1, 1, 1)


def test_sections_on_dispatching_outlive_the_other_benchmarks() -> None:
    sections = [f"{heading}\n\nfigures\n" for heading in results.DISPATCHING]
    text = "# The nightly run, measured\n"
    for section in sections:
        text = results.with_section(text, section)
    assert results.others(text).split("\n\n", 1)[0].strip() == results.DISPATCHING[0]
    assert all(section in results.others(text) for section in sections)


def dispatch_benchmark(server: str, output: Path, *options: str) -> tuple[int, str]:
    code = dispatching.main(["--server", server, "--output", str(output), *options])
    return code, output.read_text()


@pytest.mark.slow
def test_killed_dispatchers_lose_nothing_at_the_smallest_size(
    tmp_path: Path, empty_database_url: str
) -> None:
    code, text = dispatch_benchmark(
        empty_database_url,
        tmp_path / "RESULTS.md",
        *("--only", "kills", "--emails", "100", "--mailboxes", "10"),
        *("--seconds", "2", "--every", "1", "--lease", "1"),
    )
    assert "| emails planned | 100 |" in text
    assert (code, "Everything is accounted for." in text) == (0, True)


@pytest.mark.slow
def test_dispatch_benchmarks_run_at_the_smallest_size(
    tmp_path: Path, empty_database_url: str
) -> None:
    code, text = dispatch_benchmark(
        empty_database_url,
        tmp_path / "RESULTS.md",
        *("--only", "punctuality,start,throughput", "--mailboxes", "5", "--each", "3"),
        *("--within", "1", "--rest", "1", "--answers", "0.01", "--rows", "9", "--starts", "1"),
        *("--messages", "20", "--connections", "2", "--runs", "1"),
    )
    assert code == 0
    # The mailboxes have 2, 3, 4, 5 and 1 emails, 15 in all, and each has one in the burst.
    assert "| answers after 10 ms, spread | 15 |" in text
    assert "| answers after 10 ms, burst | 5 |" in text
    assert "| 9 rows |" in text
    assert "| aiosmtpd | 2 |" in text


@pytest.mark.slow
def test_a_recalculations_locks_are_measured_at_the_smallest_size(
    tmp_path: Path, empty_database_url: str
) -> None:
    output = tmp_path / "RESULTS.md"
    size = ("--contacts", "200", "--mailboxes", "1", "--runs", "1")
    recalc_locks.main(["--server", empty_database_url, "--output", str(output), *size])
    *_, row = output.read_text().strip().splitlines()
    moved, rows = (int(cell.replace(",", "")) for cell in row.strip("|").split("|")[:2])
    assert 0 < moved <= rows


def test_unknown_measurements_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dispatching.main(["--only", "kill"])
    assert "there is no kill: choose among kills, punctuality" in capsys.readouterr().err


@pytest.mark.slow
def test_studies_are_measured_at_the_smallest_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "RESULTS.md"
    studies.main(["--contacts", "100", "--mailboxes", "1", "--output", str(output)])
    text = output.read_text()
    assert "| 20 scenarios, and the problem as it is |" in text
    assert text.count("to finish by") >= 2
    assert capsys.readouterr().out == ""
