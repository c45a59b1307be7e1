"""The synthetic instances are what they say: shape, determinism, and a past that can have been."""

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import jinja2
import jinja2.meta
import numpy as np
import pandas as pd
import pytest

import sendplan
from sendplan.planner.synthetic import instances as synthetic

NOW = synthetic.REFERENCE_NOW
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tight": {"tight": True},
    "shared": {"shared": True},
    "mixed": {"mixed": True},
    "provisional": {"provisional": True},
    "mixed, provisional, midday": {
        "mixed": True,
        "provisional": True,
        "now": dt.datetime(2026, 7, 1, 12, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    },
}

Frames = dict[str, pd.DataFrame]


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> tuple[Frames, dt.datetime]:
    options = VARIANTS[request.param]
    return synthetic.reference(2_000, 20, owners=2, **options), options.get("now", NOW)


def emails_with_context(frames: Frames) -> pd.DataFrame:
    """Scheduled emails with their step, sequence, enrollment, and local time."""
    people = frames["enrollments"].rename(columns={"id": "enrollment_id"})
    steps = frames["steps"].rename(columns={"id": "step_id"})
    sequences = frames["sequences"].rename(columns={"id": "sequence_id"})
    emails = frames["scheduled_emails"].merge(
        people, on="enrollment_id", suffixes=("", "_enrollment")
    )
    emails = emails.merge(steps, on="step_id", suffixes=("", "_step"))
    emails = emails.merge(sequences, on="sequence_id", suffixes=("", "_sequence"))
    zone = emails["contact_timezone"].where(emails["contact_timezone"].notna(), emails["timezone"])
    emails["local"] = [
        at.tz_convert(name).tz_localize(None)
        for at, name in zip(emails["send_at"], zone, strict=True)
    ]
    return emails


def test_reference_instance_has_the_size_it_is_known_for() -> None:
    frames = synthetic.reference()
    lengths = frames["steps"].groupby("sequence_id").size()
    position = frames["steps"].set_index("id")["position"]
    people = frames["enrollments"]
    had = people["current_step_id"].map(position).fillna(0)
    still_to_send = int((people["sequence_id"].map(lengths) - had).sum())

    assert len(people) == len(frames["contacts"]) == 50_000
    assert len(frames["mailboxes"]) == 200
    assert len(frames["sequences"]) == 40
    assert (had > 0).sum() == 20_000
    assert sorted(lengths.unique()) == [3, 4, 5, 6]
    # notes/planning.md: 184,767.
    assert still_to_send == pytest.approx(184_767, rel=0.01)
    assert frames["mailboxes"]["daily_capacity"].between(30, 80).all()
    assert frames["steps"].loc[position.to_numpy() > 1, "wait_days"].between(1, 7).all()
    # Every owner's mailboxes serve all of its sequences and no others: ten components.
    links = frames["sequence_mailboxes"].merge(
        frames["mailboxes"], left_on="mailbox_id", right_on="id"
    )
    assert (links.groupby("sequence_id").size() == 20).all()
    owner = links.groupby("sequence_id")["user_id"]
    assert (owner.min() == owner.max()).all()


def test_the_same_seed_gives_the_same_frames_and_another_one_does_not() -> None:
    first, again, other = (
        synthetic.reference(500, 4, seed=seed, mixed=True, provisional=True) for seed in (3, 3, 4)
    )
    for name, frame in first.items():
        pd.testing.assert_frame_equal(frame, again[name])
    assert not first["enrollments"]["sequence_id"].equals(other["enrollments"]["sequence_id"])


def test_a_variant_changes_only_what_it_is_about() -> None:
    plain, tight, shared, provisional = (
        synthetic.reference(500, 40, **{name: True} if name else {})
        for name in ("", "tight", "shared", "provisional")
    )
    for other in (tight, shared, provisional):
        for name in ("sequences", "steps", "contacts"):
            pd.testing.assert_frame_equal(plain[name], other[name])
    pd.testing.assert_frame_equal(plain["enrollments"], provisional["enrollments"])
    quarter = plain["mailboxes"]["daily_capacity"] // 4
    assert tight["mailboxes"]["daily_capacity"].equals(quarter)
    assert len(shared["sequence_mailboxes"]) == 8 * 40
    assert set(shared["mailboxes"]["user_id"]) == {1}


def test_a_mixed_instance_mixes() -> None:
    frames = synthetic.reference(2_000, 100, mixed=True)
    for column in ("start_time", "timezone", "holidays", "wait_unit", "priority"):
        assert len(set(frames["sequences"][column])) > 1, column
    assert len(set(frames["sequences"]["send_days"].map(tuple))) > 1
    assert len(set(frames["mailboxes"]["min_gap_seconds"])) > 1
    assert 0 < frames["mailboxes"]["ramp_from"].isna().sum() < 100
    zoned = frames["enrollments"]["contact_timezone"].notna().mean()
    assert zoned == pytest.approx(synthetic.ZONED_CONTACTS, abs=0.05)
    assert frames["enrollments"]["contact_id"].duplicated().any()


def test_keys_are_unique_and_references_lead_somewhere(variant: tuple[Frames, dt.datetime]) -> None:
    frames, _ = variant
    for name in ("sequences", "steps", "mailboxes", "contacts", "enrollments", "scheduled_emails"):
        assert frames[name]["id"].is_unique, name
    assert frames["sequences"]["name"].is_unique
    assert frames["mailboxes"]["email"].is_unique
    assert frames["contacts"]["email"].is_unique
    assert not frames["enrollments"].duplicated(["contact_id", "sequence_id"]).any()
    assert not frames["scheduled_emails"].duplicated(["enrollment_id", "step_id"]).any()
    references = {
        ("enrollments", "contact_id"): "contacts",
        ("enrollments", "sequence_id"): "sequences",
        ("enrollments", "current_step_id"): "steps",
        ("enrollments", "mailbox_id"): "mailboxes",
        ("scheduled_emails", "enrollment_id"): "enrollments",
        ("scheduled_emails", "step_id"): "steps",
        ("scheduled_emails", "mailbox_id"): "mailboxes",
    }
    for (name, column), target in references.items():
        assert frames[name][column].dropna().isin(frames[target]["id"]).all(), (name, column)


def test_the_planner_takes_every_variant(variant: tuple[Frames, dt.datetime]) -> None:
    frames, now = variant
    given = {name: frame for name, frame in frames.items() if name != "contacts"}
    sendplan.Problem.from_frames(**given, now=now)


def test_sent_emails_left_from_the_bound_mailbox_of_the_pool(
    variant: tuple[Frames, dt.datetime],
) -> None:
    frames, _ = variant
    emails = emails_with_context(frames)
    sent = emails[emails["status"] == "sent"]
    assert (sent["mailbox_id"] == sent["mailbox_id_enrollment"]).all()
    links = frames["sequence_mailboxes"].assign(linked=True)
    assert sent.merge(links, on=["sequence_id", "mailbox_id"], how="left")["linked"].all()


def test_every_slot_lies_in_the_window_of_a_sending_day(
    variant: tuple[Frames, dt.datetime],
) -> None:
    frames, now = variant
    emails = emails_with_context(frames)
    assert (emails["local"].dt.normalize() == emails["send_day"]).all()
    for _, email in emails.iterrows():
        assert email["start_time"] <= email["local"].time() < email["end_time"]
        assert email["send_day"].isoweekday() in email["send_days"]
        if email["holidays"]:
            assert email["send_day"].date() not in holidays.country_holidays(email["holidays"])
    sent = emails["status"] == "sent"
    assert (emails.loc[sent, "sent_at"] >= emails.loc[sent, "send_at"]).all()
    assert (emails.loc[sent, "sent_at"] < now).all()


def test_threads_kept_their_waits_and_stand_where_the_history_says(
    variant: tuple[Frames, dt.datetime],
) -> None:
    frames, _ = variant
    emails = emails_with_context(frames).sort_values(["enrollment_id", "position"])
    sent = emails[emails["status"] == "sent"]
    thread = sent.groupby("enrollment_id")
    since = thread["send_day"].diff()
    assert (since[since.notna()].dt.days >= sent.loc[since.notna(), "wait_days"]).all()
    # Steps 1, 2 … without a gap, up to the enrollment's current one.
    assert (sent["position"] == thread.cumcount() + 1).all()
    last = thread.tail(1)
    assert (last["step_id"] == last["current_step_id"]).all()
    assert (last["send_day"] == last["last_sent_day"]).all()
    assert (thread.head(1)["send_at"] > thread.head(1)["enrolled_at"]).all()
    people = frames["enrollments"]
    in_flight = people["current_step_id"].notna()
    assert in_flight.sum() == len(last) == 800
    assert (in_flight == people["mailbox_id"].notna()).all()
    assert people["enrolled_at"].is_monotonic_increasing


def test_provisional_rows_are_first_steps_of_those_who_have_had_nothing() -> None:
    frames = synthetic.reference(2_000, 20, provisional=True, mixed=True)
    emails = emails_with_context(frames)
    rows = emails[emails["status"] == "pending"]
    assert len(rows) == 1_200
    assert (rows["position"] == 1).all()
    assert rows["current_step_id"].isna().all()
    assert rows["plan_run_id"].isna().all()
    assert (rows["local"].dt.time == rows["start_time"]).all()
    # Dealt out evenly within each pool.
    dealt = rows.groupby(["sequence_id", "mailbox_id"]).size()
    assert (dealt.groupby("sequence_id").max() - dealt.groupby("sequence_id").min() <= 1).all()


def test_a_window_that_has_closed_makes_provisional_rows_wait_for_tomorrow() -> None:
    # A Monday; the windows, 09:00 to 17:00 UTC, close at 17:00 sharp.
    for hour, day in ((16, "2026-11-23"), (17, "2026-11-24")):
        now = dt.datetime(2026, 11, 23, hour, tzinfo=dt.UTC)
        rows = synthetic.reference(50, 2, now=now, provisional=True)["scheduled_emails"]
        assert (rows.loc[rows["status"] == "pending", "send_day"] == pd.Timestamp(day)).all()


def test_texts_use_only_what_every_contact_has() -> None:
    frames = synthetic.reference(40, 20, owners=10)
    environment = jinja2.Environment()
    known = set(frames["contacts"]["attributes"].iloc[0])
    assert all(set(attributes) == known for attributes in frames["contacts"]["attributes"])
    used: set[str] = set()
    for text in pd.concat([frames["steps"]["subject"], frames["steps"]["content"]]):
        used |= jinja2.meta.find_undeclared_variables(environment.parse(text))
        assert "$" not in text
    assert used == {"first_name", "company"} <= known


@pytest.mark.parametrize(
    "arguments",
    [
        {"contacts": 0},
        {"mailboxes": 0},
        {"mailboxes": 3, "owners": 4},
        {"owners": 0},
        {"now": dt.datetime(2026, 11, 23, 2)},
    ],
)
def test_what_makes_no_instance_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need|time zone"):
        synthetic.reference(**arguments)


def test_the_smallest_instances_are_whole() -> None:
    for contacts in (1, 2, 5):
        frames = synthetic.reference(contacts, 1, mixed=True, provisional=True)
        assert len(frames["enrollments"]) == contacts
        assert np.isin(frames["scheduled_emails"]["status"], ["sent", "pending"]).all()
