"""Email addresses: one plain address that a server accepts."""

import re

from sendplan.io.documents.texts import CONTROL, character, shown
from sendplan.planner.schema.errors import Fault

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# email-validator takes some 50 µs an address; nearly all addresses are this plain.
_PLAIN = re.compile(
    rf"(?=[^@]{{1,64}}@)(?=.{{3,254}}\Z){_ATOM}(?:\.{_ATOM})*"
    rf"@(?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])\Z"
)
_SEVERAL = re.compile(r"@.*[\s,;].*@", re.DOTALL)


class AddressError(ValueError):
    """A text that is no single email address.

    Parameters
    ----------
    fault : Fault
        What is wrong with it, the text included, and what to do.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))


def address(text: str) -> str:
    """Check an address and return it trimmed, with the domain in lower case and ASCII.

    The domain is not looked up. The part before the @ keeps its case, which may matter to a server.

    Raises
    ------
    AddressError
        If the text is not exactly one address that can be put in a header of plain ASCII.
    """
    trimmed = text.strip(" \t\u00a0")
    if _PLAIN.match(trimmed) is not None:
        local, _, domain = trimmed.rpartition("@")
        return f"{local}@{domain.lower()}"
    if not trimmed:
        raise AddressError(Fault("", "no email address", "fill it in, or delete the row"))
    control = CONTROL.search(trimmed)
    if control:
        raise _error(text, f"{character(control[0])} in the address", "remove it")
    if "@" not in trimmed:
        raise _error(text, "no @ in the address", "write it as name@domain")
    if _SEVERAL.search(trimmed):
        raise _error(text, "more than one address", "give each contact a row of its own")
    # Imported here, since most files never need it and the import is slow.
    import email_validator

    try:
        found = email_validator.validate_email(
            trimmed,
            check_deliverability=False,
            allow_smtputf8=False,
            strict=True,
            test_environment=True,
        )
    except email_validator.EmailNotValidError as error:
        reason = str(error).rstrip(".")
        ascii_only = "before the @-sign are not supported" in reason
        remedy = (
            "use the contact's ASCII address: few servers deliver to others"
            if ascii_only
            else "write only the address, as name@domain"
        )
        raise _error(text, reason[:1].lower() + reason[1:], remedy) from error
    return found.ascii_email or found.normalized


def _error(text: str, rule: str, remedy: str) -> AddressError:
    return AddressError(Fault("", f"{rule}: {shown(text)}", remedy))
