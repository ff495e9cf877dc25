"""Processes of other users, for tests that run as root."""

import json
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import pytest

OTHER, VICTIM = 54321, 54322  # user ids that nobody has

root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="has one user id")


def as_user(user: int, call: Callable[[], Any], seconds: int = 60) -> Any:
    """Return what a function returns in a process of this user, which may take so many seconds."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that the child does not have
        child = os.fork()
    if child == 0:
        try:
            signal.alarm(seconds)  # also ends compiled code that hangs
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            os.write(writer, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"ended by signal {status}"
    return json.loads(text)
