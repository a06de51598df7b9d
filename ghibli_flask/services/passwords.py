"""Passwords: which ones may be used, how they are kept, whether a typed one fits. Called by `services.accounts`.

Kept with argon2; the bcrypt hashes of earlier installations still fit and are replaced at the first sign-in. Length
and being hard to guess are the rules that help, so there are no others.
"""

from __future__ import annotations

from functools import cache

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher
from zxcvbn import zxcvbn

from ghibli_flask.errors import FieldError, InvalidFields, _

SHORTEST = 10
LONGEST = 200
# Below a million guesses a password is in every list of common ones, or a small change of one.
FEWEST_GUESSES_LOG10 = 6.0
LOOKED_AT = 72


class OlderBcryptHasher(BcryptHasher):
    """Hashes of earlier installations, whose libraries looked at the first 72 bytes of a password and no further."""

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 - the name is the library's.
        """Whether this is the password; never for a hash that is damaged."""
        whole = password.encode() if isinstance(password, str) else password
        try:
            return bool(super().verify(whole[:72], hash))
        except ValueError:
            return False


_hasher = PasswordHash((Argon2Hasher(), OlderBcryptHasher()))


@cache
def _decoy() -> str:
    """What is verified against when there is no hash, so that an unknown address takes as long as a wrong password."""
    return _hasher.hash("nobody has this password")


def keep(password: str, *, about: tuple[str, ...] = ()) -> str:
    """The hash of a new password; raises InvalidFields when it may not be used.

    `about` are words that others know of its owner, such as the address: a password made of them is easy to guess.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise _refusal(_("A password has 10 to 200 characters; a short sentence is a good one."))
    if zxcvbn(password[:LOOKED_AT], user_inputs=list(about))["guesses_log10"] < FEWEST_GUESSES_LOG10:
        raise _refusal(_("That password is among the first that somebody would try. A short sentence is a good one."))
    return _hasher.hash(password)


def verify(kept: str | None, typed: str) -> tuple[bool, str | None]:
    """Whether a typed password fits, and the hash that should replace an older one; as slow when nothing is kept."""
    decoy = _decoy()
    if len(typed) > LONGEST:
        typed = ""
    try:
        fits, renewed = _hasher.verify_and_update(typed, kept or decoy)
    except UnknownHashError:
        _hasher.verify(typed, decoy)  # As long as for everybody else.
        return False, None
    return (fits, renewed) if kept else (False, None)


def _refusal(sentence: str) -> InvalidFields:
    return InvalidFields(fields=(FieldError("password", sentence),))
