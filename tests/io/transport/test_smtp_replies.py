"""What each reply says about an email: the rows of the table, each as a server words it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendplan.io.messages.outcomes import Verdict
from sendplan.io.transport.smtp_replies import MAX_DETAIL, Phase, enhanced, outcome, verdict

OPENING = (Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.STARTTLS)
TRANSACTION = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT)


@pytest.mark.parametrize("phase", OPENING)
@pytest.mark.parametrize("code", [None, 250, 421, 450, 500, 530, 550, 554])
def test_what_fails_before_the_login_says_nothing_of_email_and_mailbox(
    phase: Phase, code: int | None
) -> None:
    assert verdict(phase, code, "5.7.1 not from your address") is Verdict.UNREACHABLE


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (454, "4.7.0 Temporary authentication failure", Verdict.UNREACHABLE),
        (421, "4.7.0 Too many login attempts", Verdict.UNREACHABLE),
        (432, "4.3.2 Concurrent connections limit exceeded", Verdict.UNREACHABLE),
        (None, "no answer in time", Verdict.UNREACHABLE),
        (334, "", Verdict.UNREACHABLE),
        (535, "5.7.8 Username and Password not accepted", Verdict.MAILBOX),
        (535, "", Verdict.MAILBOX),
        (534, "5.7.9 Application-specific password required", Verdict.MAILBOX),
        (530, "5.7.0 Must issue a STARTTLS command first", Verdict.MAILBOX),
        (550, "5.7.30 Basic authentication is not supported", Verdict.MAILBOX),
    ],
)
def test_a_login_that_is_refused_for_good_is_the_mailboxs_own(
    code: int | None, text: str, expected: Verdict
) -> None:
    assert verdict(Phase.AUTH, code, text) is expected


@pytest.mark.parametrize("phase", TRANSACTION)
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (421, "4.3.0 Temporary System Problem"),
        (421, ""),
        (432, "4.3.2 Concurrent connections limit exceeded"),
        (450, "4.2.1 The user you are trying to contact is receiving mail too quickly"),
        (450, "4.2.1 Peak SMTP relay limit exceeded for customer"),
        (451, "4.7.0 greylisted"),
        (452, "4.5.3 Your message has too many recipients"),
        (452, "4.2.2 over quota"),
        # A status of another class than its code is none, so this is no daily limit.
        (450, "5.4.5 Daily user sending limit exceeded"),
    ],
)
def test_4yz_is_for_later_at_every_phase(phase: Phase, code: int, text: str) -> None:
    assert verdict(phase, code, text) is Verdict.TEMPORARY


@pytest.mark.parametrize("phase", TRANSACTION)
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (530, "5.7.0 Authentication required"),
        (530, "5.7.57 Client not authenticated to send mail"),
        (535, "5.7.8 not logged in any more"),
        (550, "5.4.5 Daily user sending limit exceeded"),
        (550, "5.7.1 Daily SMTP relay limit exceeded for customer"),
        (550, "5.7.1 Email quota exceeded"),
        (550, "5.7.0 Mail relay denied"),
        (550, "5.7.0 Mail Sending denied"),
        (554, "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"),
        (554, "5.2.0 quota"),
        (554, "5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException"),
        (550, "5.2.252 Sender throttled due to continuous send as denied errors"),
        (550, "5.1.8 Access denied, bad outbound sender"),
        (550, "5.1.90 You've reached your daily limit for message recipients"),
        (501, "5.1.7 Bad sender address syntax"),
        (550, "5.7.60 Client does not have permissions to send as this sender"),
        (550, "5.7.501 Access denied, spam abuse detected"),
        (550, "5.7.705 Access denied, tenant has exceeded threshold"),
        (550, "5.7.708 Access denied, traffic not accepted from this IP"),
        (550, "5.7.750 Client blocked from sending from unregistered domains"),
        (550, "5.7.27 Sender address has null MX"),
        # As Postfix, Exim, sendmail and Exchange say that they send nothing on.
        (554, "5.7.1 <ann@example.com>: Relay access denied"),
        (550, "relay not permitted"),
        (550, "5.7.1 ann@example.com... Relaying denied"),
        (550, "5.7.54 SMTP; Unable to relay recipient in non-accepted domain"),
    ],
)
def test_what_is_about_the_mailbox_leaves_contacts_alone_at_every_phase(
    phase: Phase, code: int, text: str
) -> None:
    assert verdict(phase, code, text) is Verdict.MAILBOX


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "sender rejected", Verdict.MAILBOX),
        (550, "5.7.1 blocked", Verdict.MAILBOX),
        (501, "bad address", Verdict.MAILBOX),
        (552, "5.3.4 Message size exceeds fixed limit", Verdict.REFUSED),
        (552, "too big", Verdict.REFUSED),
        # The sender's own storage, which is not about the size of one message.
        (552, "5.2.2 over quota", Verdict.MAILBOX),
    ],
)
def test_a_sender_who_is_refused_is_the_mailboxs_own_but_for_the_size_of_the_message(
    code: int, text: str, expected: Verdict
) -> None:
    assert verdict(Phase.MAIL, code, text) is expected


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "5.1.1 The email account that you tried to reach does not exist", Verdict.RECIPIENT),
        (553, "5.1.2 no such domain", Verdict.RECIPIENT),
        (501, "5.1.3 bad syntax", Verdict.RECIPIENT),
        (551, "5.1.6 moved", Verdict.RECIPIENT),
        (556, "5.1.10 the domain takes no mail", Verdict.RECIPIENT),
        (550, "5.2.1 The email account that you tried to reach is disabled", Verdict.RECIPIENT),
        (550, "No such user here", Verdict.RECIPIENT),
        (551, "", Verdict.RECIPIENT),
        (553, "mailbox name not allowed", Verdict.RECIPIENT),
        (556, "", Verdict.RECIPIENT),
        # Whoever gets too much at the moment is there, whatever the code.
        (550, "5.2.1 The user is receiving mail at a rate that prevents …", Verdict.TEMPORARY),
        (552, "5.2.2 The recipient's inbox is out of storage space", Verdict.REFUSED),
        (550, "5.7.1 refused by policy", Verdict.REFUSED),
        (554, "transaction failed", Verdict.REFUSED),
        (552, "too much", Verdict.REFUSED),
        (550, "5.4.1 Recipient address rejected", Verdict.REFUSED),
        (503, "5.5.1 need MAIL first", Verdict.TEMPORARY),
        (250, "and this is no refusal, so it never gets here", Verdict.TEMPORARY),
        (None, "no answer in time", Verdict.TEMPORARY),
    ],
)
def test_only_what_is_about_the_address_stops_the_contact(
    code: int | None, text: str, expected: Verdict
) -> None:
    assert verdict(Phase.RCPT, code, text) is expected


@pytest.mark.parametrize("phase", [Phase.DATA, Phase.DOT])
@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "5.1.1 no such user", Verdict.RECIPIENT),
        (550, "5.2.1 disabled", Verdict.RECIPIENT),
        # Without a status code it is mostly about what the message says.
        (550, "rejected", Verdict.REFUSED),
        (554, "5.7.1 looks like spam", Verdict.REFUSED),
        (552, "5.3.4 too big", Verdict.REFUSED),
        (554, "", Verdict.REFUSED),
    ],
)
def test_a_message_that_is_refused_stops_the_contact_only_if_the_address_is_named(
    phase: Phase, code: int, text: str, expected: Verdict
) -> None:
    assert verdict(phase, code, text) is expected


def test_what_ends_before_the_dot_was_not_accepted_and_after_it_may_have_been() -> None:
    # 354 after the dot, or 250 instead of 354: both sides are out of step.
    assert verdict(Phase.DATA, None) is Verdict.TEMPORARY
    assert verdict(Phase.DATA, 250) is Verdict.TEMPORARY
    assert verdict(Phase.BODY, None) is Verdict.TEMPORARY
    assert verdict(Phase.DOT, None) is Verdict.UNCERTAIN
    assert verdict(Phase.DOT, 354) is Verdict.UNCERTAIN


@pytest.mark.parametrize("code", [200, 250, 251, 299])
def test_only_2yz_after_the_dot_is_an_acceptance(code: int) -> None:
    assert verdict(Phase.DOT, code) is Verdict.SENT
    others = [phase for phase in Phase if phase is not Phase.DOT]
    assert Verdict.SENT not in {verdict(phase, code) for phase in others}


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "5.1.1 no such user", "5.1.1"),
        (550, "  5.1.1", "5.1.1"),
        (550, "5.1.10 no mail", "5.1.10"),
        (550, "5.01.001 padded", "5.1.1"),
        (550, "5.1.1. A full stop", "5.1.1"),
        (550, "no such user 5.1.1", ""),
        (550, "5.1.1.1 is no status", ""),
        (550, "4.1.1 of another class", ""),
        (550, "5.1", ""),
        (550, "", ""),
    ],
)
def test_a_status_code_is_three_numbers_of_the_same_class_up_front(
    code: int, text: str, expected: str
) -> None:
    assert enhanced(code, text) == expected


def test_a_detail_tells_phase_and_reply_once_in_one_line() -> None:
    # The status code stands in each line of the reply.
    found = outcome(
        Phase.RCPT, 550, "5.1.1 no such user\n5.1.1 here,\x1b[31m\r\n5.1.1  or\x00there"
    )
    assert found.detail == "RCPT TO: 550 5.1.1 no such user here, [31m or there"


@given(
    st.sampled_from(Phase),
    st.one_of(st.none(), st.integers(min_value=200, max_value=599)),
    st.text(max_size=2000),
)
def test_every_reply_has_a_verdict_and_a_detail_that_can_be_printed(
    phase: Phase, code: int | None, text: str
) -> None:
    found = outcome(phase, code, text)
    assert found.detail.isprintable()
    assert len(found.detail) <= MAX_DETAIL
    # Uncertain is what cannot be known, and nothing else.
    unclear = phase is Phase.DOT and (code is None or 300 <= code < 400)
    assert (found.verdict is Verdict.UNCERTAIN) == unclear
