"""Errors that a user can act on."""

from __future__ import annotations


class BraidError(Exception):
    """Something braid cannot do; the message is one sentence that says what to do about it."""


class InputError(BraidError, ValueError):
    """An input is missing or wrong; the message names the file, the row or key, and the remedy."""
