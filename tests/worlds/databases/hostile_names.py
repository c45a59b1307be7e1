"""A small plan with something of everything that a report shows, under names that mean harm."""

from sendplan.tests.worlds.problems.tiny import World, at

HOSTILE = "<script>alert(1)</script> \"A\" & 'B'"
MAILBOX = '"<img src=x onerror=alert(2)>"@example.com'
NOON = at(0, "12:00")


def eventful() -> World:
    """Make a Monday at noon: Friday's emails have left, today's have slots, some have none.

    Sequence 1 sends two steps, the second a day after the first, over a mailbox for two emails a
    day; 1 to 3 are under way and 4 to 6 have not begun. Sequence 2 has one contact who is done, one
    who stopped, one who is suppressed, and one whose only mailbox is paused.
    """
    made = World(NOON).sequence(1, waits=(0, 1), name=HOSTILE).sequence(2, waits=(0,), name=None)
    made.mailbox(5, 2, email=MAILBOX).mailbox(6, 9, (2,), status="paused", email="b@example.com")
    for enrollment in (1, 2, 3):
        made.enroll(enrollment, current_step_id=11, mailbox_id=5)
        made.email(enrollment, 11, "sent", -3, id=enrollment)
    made.enroll(4, 5, 6)
    # Two a day: 1 and 2 are punctual on Monday, the ready day; 3 slips to Tuesday.
    made.email(1, 12, "pending", 0, "13:00", id=11)
    made.email(2, 12, "pending", 0, "14:00", id=12)
    made.email(3, 12, "pending", 1, "09:00", id=13)
    # 4 starts a day late for want of room, its follow-up then is punctual on Wednesday.
    made.email(4, 11, "pending", 1, "13:00", id=14)
    made.email(4, 12, "pending", 2, "09:00", id=15)
    # 5 has rows without slots: no plan has seen it. 6 has no row at all.
    made.email(5, 11, "pending", 0, id=16, plan_run_id=None)
    made.enroll(7, sequence=2, status="completed", current_step_id=21)
    made.email(7, 21, "sent", -3, id=17)
    made.enroll(8, sequence=2, status="stopped")
    made.enroll(9, sequence=2)
    made.enroll(10, sequence=2, suppressed_at=at(-1, "10:00"))
    return made
