"""One thread at a time parses Python."""

from __future__ import annotations

import threading

__all__ = ["PARSING"]

PARSING = threading.RLock()
"""Held while source text or NumPy's array headers are parsed, wherever several threads are at work.

CPython before 3.11.8 and 3.12.2 counts the depth of all threads' syntax trees in one place, and fails
(python/cpython#106905).
"""
