"""Pseudonyms: a person's raw identifier never reaches the store."""

import base64
import hashlib
import os
import unicodedata

from storage.load.errors import LoadError

VARIABLE = "DAYBREAK_PSEUDONYM_KEY"


def pseudonym_key() -> bytes:
    """The key from the environment. Raises LoadError without one that is long enough."""
    key = os.environ.get(VARIABLE, "").encode()
    if len(key) < 16:
        raise LoadError(
            f"The mapping asks for pseudonyms, and {VARIABLE} holds no key.",
            hint="Set it to 16 or more random characters, and keep it: another key makes other "
            "pseudonyms.",
        )
    return hashlib.blake2b(key, digest_size=32).digest()


def pseudonym(raw: str, key: bytes) -> str:
    """The same text of 26 characters for the same person, case and blanks aside.

    Keyed BLAKE2b (RFC 7693), 120 bits: without the key it can be neither undone nor guessed at.
    """
    same = unicodedata.normalize("NFKC", raw).strip().casefold()
    digest = hashlib.blake2b(same.encode(), key=key, digest_size=15, person=b"daybreak:person")
    return "u_" + base64.b32encode(digest.digest()).decode().lower()
