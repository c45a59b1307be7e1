"""Verdicts on an email by an SMTP server's reply: by phase, reply code and enhanced status code.

A reply code alone says too little: 550 is a wrong address, an exceeded quota or a policy. So the
enhanced status code (RFC 3463) decides where there is one, and the phase where there is none. Where
a rule may be wrong, it errs to the side that loses least: a mailbox paused without need is seen and
resumed, while a contact suppressed without need stays lost.
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

from sendplan.io.messages.outcomes import Outcome, Verdict

MAX_DETAIL = 300
"""Most characters of an outcome's detail."""


class Phase(StrEnum):
    """How far an attempt had come, by the last command."""

    CONNECT = "connecting"
    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    BODY = "message"
    """The message, without the dot that ends it."""
    DOT = "end of message"
    RSET = "RSET"
    QUIT = "QUIT"


_SESSION = frozenset(
    {Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.STARTTLS, Phase.RSET, Phase.QUIT}
)
_TRANSACTION = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT})
_ENHANCED = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9]|\.[0-9])")
_REPEATED = re.compile(r"\n[245]\.[0-9]{1,3}\.[0-9]{1,3}(?= )")


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of permanent refusal; None matches everything.

    Parameters
    ----------
    verdict : Verdict
    phases : container of Phase
    codes : container of int, optional
        Reply codes.
    statuses : container of str, optional
        Enhanced status codes; the empty text stands for none.
    text : re.Pattern, optional
        A pattern of the text, where the codes are ambiguous.
    """

    verdict: Verdict
    phases: Container[Phase] = _TRANSACTION
    codes: Container[int] | None = None
    statuses: Container[str] | None = None
    text: re.Pattern[str] | None = None

    def matches(self, phase: Phase, code: int, status: str, text: str) -> bool:
        """Return whether a reply is of this kind."""
        return (
            phase in self.phases
            and (self.codes is None or code in self.codes)
            and (self.statuses is None or status in self.statuses)
            and (self.text is None or self.text.search(text) is not None)
        )


RULES = (
    # RFC 4954, section 6: the login was refused, is missing, too weak or needs encryption. A login
    # can lapse amid a session, so some servers say so later.
    Rule(Verdict.MAILBOX, {Phase.AUTH}),
    Rule(Verdict.MAILBOX, codes={530, 534, 535, 538}),
    Rule(Verdict.MAILBOX, statuses={"5.7.8", "5.7.9"}),
    # RFC 3463, section 3.2: the sender's address. RFC 7505, section 4.2: its domain takes no mail.
    Rule(Verdict.MAILBOX, statuses={"5.1.7", "5.1.8", "5.7.27"}),
    # Google Workspace, “Gmail SMTP errors and codes”: the daily limit of the user or the domain, or
    # an account that may not send.
    Rule(Verdict.MAILBOX, statuses={"5.4.5"}),
    Rule(
        Verdict.MAILBOX,
        statuses={"5.7.0", "5.7.1"},
        text=re.compile(
            r"relay limit exceeded|email quota exceeded|mail sending denied"
            r"|invalid credentials for relay",
            re.IGNORECASE,
        ),
    ),
    # The same page: a contact with too much mail at the moment, with the code of a disabled one.
    Rule(
        Verdict.TEMPORARY,
        statuses={"5.2.1"},
        text=re.compile(r"receiving e?mail (?:at a rate|too quickly)", re.IGNORECASE),
    ),
    # Microsoft 365, “Message storage and concurrent connection throttling for SMTP AUTH”: quota
    # exceeded, sending as another user, or the sender's own mailbox is full (5.2.2).
    Rule(Verdict.MAILBOX, codes={554}, statuses={"5.2.0"}),
    Rule(Verdict.MAILBOX, text=re.compile(r"STOREDRV\.Submission", re.IGNORECASE)),
    # Microsoft 365, “Continuous error throttling for SMTP AUTH submissions”.
    Rule(Verdict.MAILBOX, statuses={f"5.2.{detail}" for detail in range(251, 256)}),
    # Microsoft 365, “Email non-delivery reports and SMTP errors in Exchange Online”: recipients of
    # the day used up; basic login off; not logged in; not allowed to send as this sender; spam
    # seen from this account or tenant; tenant over its limits, from an address that is not
    # trusted yet, or with an unregistered domain.
    Rule(
        Verdict.MAILBOX,
        statuses={
            *("5.1.90", "5.7.30", "5.7.57", "5.7.60"),
            *("5.7.232", "5.7.233", "5.7.501", "5.7.502", "5.7.503"),
            *("5.7.705", "5.7.708", "5.7.750"),
        },
    ),
    # Postfix “Relay access denied”, Exim “relay not permitted”, Exchange “Unable to relay”, Google
    # “Mail relay denied”: this server relays nothing for this mailbox. Read as a wrong address, it
    # would suppress every contact of the mailbox.
    Rule(
        Verdict.MAILBOX,
        text=re.compile(
            r"\brelay(?:ing)?\b[^.]{0,20}\b(?:denied|not (?:permitted|allowed)|prohibited)"
            r"|\b(?:unable|not (?:permitted|allowed)) to relay\b|\bdo(?:es)? not relay\b",
            re.IGNORECASE,
        ),
    ),
    # RFC 1870, section 6.1, and RFC 3463, sections 3.3 and 3.4: the message is too big.
    Rule(Verdict.REFUSED, {Phase.MAIL}, statuses={"5.2.3", "5.3.4"}),
    Rule(Verdict.REFUSED, {Phase.MAIL}, codes={552}, statuses={""}),
    # All else against MAIL is about the sender: the server knows nothing else by then.
    Rule(Verdict.MAILBOX, {Phase.MAIL}),
    # RFC 5321, section 4.2.1: client and server are out of step; another session may not be.
    Rule(Verdict.TEMPORARY, {Phase.RCPT, Phase.DATA}, codes={500, 502, 503}),
    # RFC 3463, sections 3.2 and 3.3, and RFC 7505, section 4.1: no such address, or a disabled one.
    Rule(
        Verdict.RECIPIENT,
        {Phase.RCPT},
        statuses={"5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10", "5.2.1"},
    ),
    # RFC 5321, section 4.2.3, and RFC 7504: the meaning of these codes alone against RCPT.
    Rule(Verdict.RECIPIENT, {Phase.RCPT}, codes={550, 551, 553, 556}, statuses={""}),
    # Later replies are mostly about the message: only these codes are about the address.
    Rule(
        Verdict.RECIPIENT,
        {Phase.DATA, Phase.DOT},
        statuses={"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"},
    ),
    Rule(Verdict.REFUSED),
)
"""Permanent refusals. The first match counts; the last one matches all."""


def verdict(phase: Phase, code: int | None, text: str = "") -> Verdict:
    """Return the verdict of a reply, or of the lack of one.

    Parameters
    ----------
    phase : Phase
        What it answers, or should have answered.
    code : int, optional
        The reply code; None for no reply: a timeout, a dropped connection, garbage. That is no
        acceptance before the final dot, since a server that has not seen it must not deliver
        (RFC 5321, section 4.1.1.4); after the dot it may be one.
    text : str
        What follows the code.

    Notes
    -----
    Only a completed reply to the dot is `Verdict.SENT`. An unexpected code in another phase, such
    as 250 instead of 354, shows that both sides are out of step, and counts as no reply.
    """
    kind = 0 if code is None else code // 100
    if phase in _SESSION:
        return Verdict.UNREACHABLE
    if phase is Phase.DOT and kind == 2:
        return Verdict.SENT
    if code is None or kind not in (4, 5):
        if phase is Phase.AUTH:
            return Verdict.UNREACHABLE
        return Verdict.UNCERTAIN if phase is Phase.DOT else Verdict.TEMPORARY
    if kind == 4:
        return Verdict.UNREACHABLE if phase is Phase.AUTH else Verdict.TEMPORARY
    status = enhanced(code, text)
    return next(rule.verdict for rule in RULES if rule.matches(phase, code, status, text))


def enhanced(code: int, text: str) -> str:
    """Return the enhanced status code at the beginning of a text, or an empty text.

    One of another class than the reply code does not count (RFC 2034, section 4).
    """
    found = _ENHANCED.match(text.lstrip())
    if found is None or int(found[1]) != code // 100:
        return ""
    # Leading zeros are forbidden, yet seen.
    return ".".join(str(int(part)) for part in found.groups())


def outcome(phase: Phase, code: int | None, text: str) -> Outcome:
    """Return the outcome of a reply, with a readable line.

    Parameters
    ----------
    phase : Phase
    code : int, optional
        As for `verdict`.
    text : str
        What follows the code, without any secret, or the event instead of a reply.
    """
    # Each line of a reply repeats the status code.
    says = text if code is None else f"{code} {_REPEATED.sub(' ', text)}"
    return Outcome(verdict(phase, code, text), line(f"{phase}: {says}"))


def line(text: str) -> str:
    """Return a text from outside as one printable line of bounded length."""
    if text.isprintable() and len(text) <= MAX_DETAIL:
        return text.strip()
    safe = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_DETAIL])
    joined = " ".join(safe.split())
    return joined if len(joined) <= MAX_DETAIL else f"{joined[: MAX_DETAIL - 1]}…"
