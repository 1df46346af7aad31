"""Pieces of error messages."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """First line of what a library says, for a message of one sentence."""
    return (str(error).strip().splitlines() or ["no message"])[0]
