"""Message-IDs: one email of one enrollment has one id, however often it is tried."""

import re
from functools import lru_cache
from uuid import UUID, uuid5

_OWN = re.compile(r"<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@[0-9a-f]{16}\.sendplan>")
# An encoded word needs question marks, and folding needs spaces: neither can be in here.
_SOUND = re.compile(
    r"<[A-Za-z0-9!#$%&'*+/=^_`{|}~.-]{1,150}@[A-Za-z0-9\[\]._:-]{1,150}>"
)  # fmt: skip


def token(installation: UUID, enrollment_id: int, step_id: int) -> UUID:
    """Return the public id of one email, in its Message-ID and in links.

    It reveals nothing about the installation and its numbers, and cannot be guessed without the
    installation's id.
    """
    return uuid5(installation, f"{enrollment_id}/{step_id}")


def message_id(installation: UUID, enrollment_id: int, step_id: int) -> str:
    """Return the Message-ID of an email, angle brackets included.

    A pure function of installation, enrollment and step, so that receivers recognise an email that
    is tried again after a crash. The sender's domain is no part of it, since a thread may move to
    another mailbox.

    Parameters
    ----------
    installation : UUID
        The id in the table ``installation``: two databases number their enrollments alike.
    enrollment_id, step_id : int
    """
    return f"<{token(installation, enrollment_id, step_id)}@{_domain(installation)}>"


@lru_cache(maxsize=16)
def _domain(installation: UUID) -> str:
    # The installation's id itself would give away the tokens of all other emails.
    # Half of it keeps the header within 78 characters, and the token is unique anyway.
    return f"{uuid5(installation, 'domain').hex[:16]}.sendplan"


def token_in(own: str) -> UUID:
    """Return the token in a Message-ID of `message_id`.

    Raises
    ------
    ValueError
        If it is another one.
    """
    found = _OWN.fullmatch(own)
    if found is None:
        raise ValueError(f"no Message-ID of sendplan: {own[:80]!r}")
    return UUID(found[1])


def is_sound(stored: str) -> bool:
    """Return whether a stored Message-ID can stand in a header as it is.

    Sent history may come from other systems, by plain SQL.
    """
    return _SOUND.fullmatch(stored) is not None
