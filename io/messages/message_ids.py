"""Message-IDs: one email of one enrollment bears one id, whatever is tried how often."""

import re
from functools import lru_cache
from uuid import UUID, uuid5

_OWN = re.compile(r"<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@[0-9a-f]{16}\.sendplan>")
# An encoded word needs question marks, and folding needs spaces: neither can be in here.
_SOUND = re.compile(
    r"<[A-Za-z0-9!#$%&'*+/=^_`{|}~.-]{1,150}@[A-Za-z0-9\[\]._:-]{1,150}>"
)  # fmt: skip


def token(installation: UUID, enrollment_id: int, step_id: int) -> UUID:
    """Return what stands for one email towards the outside: in its Message-ID and in links.

    It tells nothing about the installation and its numbers, and nobody without the installation's
    id can work out that of another email.
    """
    return uuid5(installation, f"{enrollment_id}/{step_id}")


def message_id(installation: UUID, enrollment_id: int, step_id: int) -> str:
    """Return the Message-ID of an email, angle brackets included.

    It is a pure function of installation, enrollment and step, so that an email tried again after
    a crash is known for the same by every receiver that has it already. The sender's domain is no
    part of it: a thread may move to another mailbox, and its emails are the same ones there.

    Parameters
    ----------
    installation : UUID
        The id in the table ``installation``: two databases number their enrollments alike.
    enrollment_id, step_id : int
    """
    return f"<{token(installation, enrollment_id, step_id)}@{_domain(installation)}>"


@lru_cache(maxsize=16)
def _domain(installation: UUID) -> str:
    # The installation's id itself would give away the tokens of everybody else's emails.
    # Half of it keeps the header within 78 characters, and the token is unique anyway.
    return f"{uuid5(installation, 'domain').hex[:16]}.sendplan"


def token_in(own: str) -> UUID:
    """Return the token in a Message-ID that `message_id` has made.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    found = _OWN.fullmatch(own)
    if found is None:
        raise ValueError(f"no Message-ID of sendplan: {own[:80]!r}")
    return UUID(found[1])


def is_sound(stored: str) -> bool:
    """Tell whether a stored Message-ID can stand in a header as it is.

    Sent history may come from other systems, by plain SQL.
    """
    return _SOUND.fullmatch(stored) is not None
