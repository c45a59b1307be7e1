"""The server of a mailbox and its login: a reference, and the URL that it stands for.

The database holds references only. A URL holds a password, so messages repeat nothing of it but the
names of schemes and options.
"""

import ipaddress
import logging
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sendplan.io.documents.texts import CONTROL, shown, suggestion
from sendplan.io.errors import DataError
from sendplan.planner.schema.errors import Fault

MAX_FILE = 4096
"""Most bytes of a file with a URL."""

LONGEST_TIMEOUT = 120.0
"""Most seconds that a URL may ask for, since a claim ends with its lease."""

_OPTIONS = ("ca", "starttls", "timeout")
_PORTS = {"smtp": 587, "smtps": 465}
_FORM = "smtp://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465"
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ENCODE = "percent-encode all but letters and digits in user and password, such as @ as %40"

logger = logging.getLogger(__name__)
_warned: set[Path] = set()


class StartTls(StrEnum):
    """When a session that begins in the clear goes on encrypted."""

    REQUIRED = "required"
    """Always; a session without it ends."""

    OFFERED = "offered"
    """Where the server offers it."""

    NEVER = "never"
    """Not at all."""


@dataclass(frozen=True, slots=True)
class Server:
    """The SMTP server of a mailbox.

    Parameters
    ----------
    host : str
        A name or an address, without brackets.
    port : int
    tls : bool
        Whether the connection is encrypted from its first byte.
    starttls : StartTls
        When it becomes so otherwise.
    username, password : str
        Both empty where no login is wanted.
    ca : Path, optional
        The certificates to trust instead of the system's.
    timeout : float, optional
        Seconds to wait for the server, where the URL says so.
    """

    host: str
    port: int
    tls: bool = False
    starttls: StartTls = StartTls.REQUIRED
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ca: Path | None = None
    timeout: float | None = None


def read_reference(reference: str, environ: Mapping[str, str]) -> str:
    """Look up the text that a mailbox's transport stands for.

    Parameters
    ----------
    reference : str
        ``env:NAME`` or ``file:PATH``.
    environ : mapping of str to str
        The environment's variables.

    Returns
    -------
    str
        What the variable or the file holds, without white space around it.

    Raises
    ------
    DataError
        If the reference is none, or there is nothing behind it.
    """
    kind, separator, name = reference.partition(":")
    if not separator or not name or kind not in ("env", "file"):
        # Not repeated: it may be the URL itself.
        remedy = "set it to env:NAME or file:PATH, which holds the server's URL"
        raise _error("", "the transport is no reference", remedy)
    remedy = f"put the server's URL there, {_FORM}"
    if kind == "env":
        place = f"the environment variable {shown(name)}"
        found = environ.get(name)
        if found is None:
            raise _error(place, "not set", remedy)
    else:
        place = f"the file {shown(name, 200)}"
        found = _file(Path(name), place)
    if not found.strip():
        raise _error(place, "empty", remedy)
    return found.strip()


def _file(path: Path, place: str) -> str:
    try:
        with path.open("rb") as stream:
            mode = path.stat().st_mode
            data = stream.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "no path").lower()
        remedy = "check the path, and that this account may read it"
        raise _error(place, f"cannot be read: {reason}", remedy) from None
    if len(data) > MAX_FILE:
        raise _error(place, f"more than {MAX_FILE:,} bytes", "let it hold the URL and nothing else")
    if mode & stat.S_IROTH and path not in _warned:
        _warned.add(path)
        logger.warning("All users of this machine can read %s: chmod 600 it", place)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # Without its cause, which quotes the bytes.
        raise _error(place, "not UTF-8", "let it hold the URL and nothing else") from None


def parse_url(url: str) -> Server:
    """Read the URL of a server.

    Parameters
    ----------
    url : str
        ``smtp://`` for a connection that STARTTLS encrypts, ``smtps://`` for one that is encrypted
        from the start; with user and password, percent-encoded where need be, host and port.
        Options: ``ca=PATH``, ``starttls=required|offered|never`` and ``timeout=SECONDS``. By
        default STARTTLS is required with a password, ``offered`` without, and ``never`` for the
        loopback interface.

    Raises
    ------
    DataError
        If it is no such URL; the message repeats no part that may be secret.
    """
    if CONTROL.search(url) or " " in url or "\t" in url:
        raise _url_error("white space or a control character in it", "percent-encode it")
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise _url_error("no scheme", f"write it as {_FORM}")
    if scheme.lower() not in _PORTS:
        raise _url_error("its scheme is neither smtp nor smtps", f"write it as {_FORM}")
    parts = None
    with suppress(ValueError):
        parts = urlsplit(url)
    # Outside of the except, since that error quotes the URL and would become the context.
    if parts is None:
        raise _url_error("it cannot be taken apart", _ENCODE)
    if parts.path not in ("", "/") or parts.fragment:
        raise _url_error("something after the host that is no option", _ENCODE)
    host, username, password = parts.hostname, parts.username or "", parts.password or ""
    if not host:
        raise _url_error("no host", f"write it as {_FORM}")
    loopback = _is_loopback(host)
    username, password = _decoded(username, "user"), _decoded(password, "password")
    if bool(username) != bool(password):
        missing = "password" if username else "user"
        raise _url_error(f"no {missing}", "give user and password, or neither")
    options = _options(parts.query)
    tls = parts.scheme == "smtps"
    if tls and "starttls" in options:
        remedy = "leave the option out, or begin with smtp://"
        raise _url_error("starttls with smtps, which is encrypted already", remedy)
    ca, timeout = options.get("ca"), options.get("timeout")
    return Server(
        host=host,
        port=_port(parts.netloc, _PORTS[parts.scheme]),
        tls=tls,
        starttls=_starttls(options.get("starttls"), loopback, bool(password)),
        username=username,
        password=password,
        ca=None if ca is None else Path(ca),
        timeout=None if timeout is None else _seconds(timeout),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        if _HOST.fullmatch(host) is None or len(host) > 253:
            remedy = "write a name in ASCII, or an address, IPv6 ones in brackets"
            raise _url_error("its host is no host's name", remedy) from None
        return host == "localhost"


def _port(netloc: str, default: int) -> int:
    # By hand, since urlsplit's error repeats the port, which may be half of a password.
    digits = netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    if not digits:
        return default
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) < 65536):
        raise _url_error("its port is no number from 1 to 65535", _ENCODE)
    return int(digits)


def _decoded(text: str, name: str) -> str:
    found = None
    with suppress(UnicodeDecodeError):
        found = unquote(text, errors="strict")
    if found is None:
        raise _url_error(f"its {name} is not UTF-8", "percent-encode the bytes of UTF-8")
    if CONTROL.search(found):
        raise _url_error(f"a control character in its {name}", "remove it")
    return found


def _options(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in _OPTIONS:
            # Not repeated: a password with a ? in it ends up here.
            remedy = suggestion(name, _OPTIONS, "the options are ca, starttls and timeout")
            raise _url_error("an unknown option", f"{remedy}; {_ENCODE}")
        if name in found:
            raise _url_error(f"the option {name} twice", "keep one")
        found[name] = _decoded(value, f"option {name}")
        if not found[name]:
            raise _url_error(f"the option {name} is empty", "give it a value, or leave it out")
    return found


def _starttls(value: str | None, loopback: bool, login: bool) -> StartTls:
    if value is None:
        if loopback:
            return StartTls.NEVER
        return StartTls.REQUIRED if login else StartTls.OFFERED
    try:
        return StartTls(value)
    except ValueError:
        remedy = f"use {', '.join(StartTls)}"
        raise _url_error("an unknown value of the option starttls", remedy) from None


def _seconds(value: str) -> float:
    if re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{1,3})?", value) and 0 < float(value) <= LONGEST_TIMEOUT:
        return float(value)
    remedy = f"give seconds, {LONGEST_TIMEOUT:g} at most"
    raise _url_error("the option timeout is no such time", remedy)


def _error(where: str, what: str, remedy: str) -> DataError:
    return DataError([Fault(where, what, remedy)])


_url_error: Callable[[str, str], DataError] = partial(_error, "the server's URL")
