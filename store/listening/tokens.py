"""The token that a server on a network asks for: given in a file or a variable, else made."""

import hmac
import os
import secrets
from pathlib import Path

from thermograd.store.errors import ServeError, os_errors_as
from thermograd.store.files import whole_content

_SHORTEST = 16


def given_token(variable: str, file: Path | None) -> str | None:
    """Return the token that was given, None for none; the environment's is not handed on to other processes.

    ServeError, if the file cannot be read or the token is too short.
    """
    given = os.environ.pop(variable, None)
    if file is not None:
        with os_errors_as(ServeError, f"--token-file: cannot read {file}"):
            given = whole_content(file).decode("utf-8", "replace").strip()
    if given is not None and (len(given) < _SHORTEST or not given.isascii() or not given.isprintable()):
        raise ServeError(
            f"the token has {len(given)} characters; allowed: {_SHORTEST} letters and digits or more "
            "(where none is given, --token makes one)"
        )
    return given


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def is_secret_given(given: str, secret: str) -> bool:
    """Return whether what was given is the secret, in the same time whatever was given."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def bearer_of(authorization: str) -> str:
    """Return the token that a header ``Authorization`` carries."""
    return authorization.removeprefix("Bearer ")
