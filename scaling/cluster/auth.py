"""Ray's token, the key to a cluster: its file, its permissions, and whether Ray asks for it."""

import os
import secrets
import stat
from ipaddress import ip_address
from pathlib import Path

PERMISSION = "LONGWAVE_WITHOUT_TOKEN"
"""Variable that, set to ``1``, allows a cluster on a network that takes jobs from anyone."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TokenError(ValueError):
    """A cluster that anyone can use."""


def token_path() -> Path:
    """Return the path of the token's file."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"


def is_disabled() -> bool:
    """Return whether Ray asks for no token."""
    return os.environ.get("RAY_AUTH_MODE", "token").lower() != "token"


def store_token() -> None:
    """Make a token if there is none, and let only its user read it, which Ray does not do."""
    if is_disabled() or os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = token_path()
    if file.exists():
        if file.stat().st_mode & OTHERS and file.stat().st_uid == os.getuid():
            file.chmod(0o600)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as opened:
        opened.write(secrets.token_hex(32))


def require_token(address: str) -> None:
    """Raise TokenError if Ray asks for no token at an address that other machines can reach."""
    if not is_disabled() or os.environ.get(PERMISSION) == "1" or _is_loopback(address):
        return
    raise TokenError(
        f"RAY_AUTH_MODE is {os.environ['RAY_AUTH_MODE']} and RAY_ADDRESS is {address}, so everyone "
        "who can reach it can run code on the cluster: run `export RAY_AUTH_MODE=token`, or "
        f"`export {PERMISSION}=1` if nobody else uses that network"
    )


def _is_loopback(address: str) -> bool:
    host = address.removeprefix("ray://").rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
