"""A process whose calls of the system on files fail as told.

The calls are caught where they reach the kernel, by seccomp's notifications to a supervisor, and not by patching
Python's functions: SQLite, Pillow and safetensors write from C, a buffer that could not be written is written again
when its file is closed, and nothing of the process under test differs from a real one. Linux from 5.5 on has them, and
no privileges are needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# The number of each call on x86-64 and, as younger systems have no calls without "at", on ARM; and which argument is a
# path (p), a file descriptor (d), or neither. Of a renaming, the new path counts.
CALLS = {
    "open": (2, None, "p"),
    "creat": (85, None, "p"),
    "openat": (257, 56, "-p"),
    "read": (0, 63, "d"),
    "pread64": (17, 67, "d"),
    "write": (1, 64, "d"),
    "pwrite64": (18, 68, "d"),
    "writev": (20, 66, "d"),
    "fsync": (74, 82, "d"),
    "fdatasync": (75, 83, "d"),
    "ftruncate": (77, 46, "d"),
    "close": (3, 57, "d"),
    "flock": (73, 32, "d"),
    "rename": (82, None, "-p"),
    "renameat": (264, 38, "---p"),
    "renameat2": (316, 276, "---p"),
    "mkdir": (83, None, "p"),
    "mkdirat": (258, 34, "-p"),
    "unlink": (87, None, "p"),
    "unlinkat": (263, 35, "-p"),
    "rmdir": (84, None, "p"),
    "stat": (4, None, "p"),
    "lstat": (6, None, "p"),
    "fstat": (5, 80, "d"),
    "newfstatat": (262, 79, "-p"),
    "statx": (332, 291, "-p"),
    "access": (21, None, "p"),
    "faccessat": (269, 48, "-p"),
    "getdents64": (217, 61, "d"),
}
# What real calls fail with.
_WRITING = {"write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate"}
_MAKING = {"creat", "rename", "renameat", "renameat2", "mkdir", "mkdirat"}
_OPENING = {"open", "openat"}  # of an existing file alone no disk is full
ERRORS = {
    "ENOSPC": _WRITING | _MAKING,
    "EIO": set(CALLS) - {"flock"},
    "EINTR": {*_OPENING, "read", "write", "fsync", "fdatasync", "flock", "ftruncate"},
    "EACCES": {*_OPENING, *_MAKING, "unlink", "unlinkat", "rmdir", "stat", "newfstatat", "statx"},
}

_SECCOMP = {"x86_64": 317, "aarch64": 277}.get(platform.machine())
_FILTER, _LISTENER, _NO_NEW_PRIVILEGES = 1, 8, 38
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION = struct.Struct("QIIiIQ6Q")
_GO_ON = 1


@dataclass(frozen=True)
class Call:
    """A call on a file: its name, and the path, or the first of two."""

    name: str
    path: str


def can_catch() -> bool:
    """Return whether this system tells a supervisor about calls."""
    if sys.platform != "linux" or _SECCOMP is None:
        return False
    try:
        return "user_notif" in Path("/proc/sys/kernel/seccomp/actions_avail").read_text()
    except OSError:
        return False


def supervised(run: Callable[[], int], decide: Callable[[Call], int]) -> int:
    """Run a function in a forked process, and ask about each of its calls on files.

    Parameters
    ----------
    run : callable
        Returns the exit code.
    decide : callable
        Returns what becomes of a call: 0 if it goes on, an errno with which it fails, or ``-signal.SIGKILL``, which
        ends the process instead.

    Returns
    -------
    int
        The exit code; negative if a signal ended the process.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if not child:
            code = 99
            try:
                socket.send_fds(theirs, [b"x"], [_listener()])
                code = run()
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                # Whatever happens, this process must not go on as its parent does, whose folders it would remove.
                for stream in (sys.stdout, sys.stderr):
                    with contextlib.suppress(Exception):  # it cannot be written, is closed, is None
                        stream.flush()
                os._exit(code)
        theirs.close()
        _, (listener,), *_ = socket.recv_fds(ours, 1, 1)
    try:
        _answer(listener, child, decide)
    finally:
        os.close(listener)
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _listener() -> int:
    """Let the kernel tell a supervisor about this process's calls, and return the descriptor for it."""
    column = {"x86_64": 0, "aarch64": 1}[platform.machine()]
    numbers = [row[column] for row in CALLS.values() if row[column] is not None]
    load, equal, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0)]
    code += [(equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    code += [(give, 0, 0, _ALLOW), (give, 0, 0, _NOTIFY)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    filtering = struct.pack("HxxxxxxP", len(code), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener = libc.syscall(_SECCOMP, _FILTER, _LISTENER, ctypes.create_string_buffer(filtering))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


def _answer(listener: int, child: int, decide: Callable[[Call], int]) -> None:
    column = {"x86_64": 0, "aarch64": 1}[platform.machine()]
    names = {row[column]: name for name, row in CALLS.items() if row[column] is not None}
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        ((_, event),) = poll.poll()
        if not event & select.POLLIN:
            return  # the last process with this filter is gone
        told = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, told)
        except FileNotFoundError:  # it died meanwhile
            continue
        number, thread, _, which, _, _, *arguments = _NOTIFICATION.unpack(told)
        name = names[which]
        verdict = decide(Call(name, _path(thread, CALLS[name][2], arguments)))
        if verdict < 0:
            os.kill(child, -verdict)
            verdict = 0
        answer = struct.pack("Qqii", number, 0, -verdict, 0 if verdict else _GO_ON)
        try:
            fcntl.ioctl(listener, _SEND, bytearray(answer))
        except FileNotFoundError:
            continue


def _path(thread: int, kinds: str, arguments: list[int]) -> str:
    """Return the path that a call is about; empty if nobody knows."""
    try:
        place = len(kinds) - 1
        if kinds[place] == "d":
            return os.readlink(f"/proc/{thread}/fd/{arguments[place] & 0xFFFFFFFF}")
        with open(f"/proc/{thread}/mem", "rb", 0) as memory:
            memory.seek(arguments[place])
            path = os.fsdecode(memory.read(4096).partition(b"\0")[0])
        if path.startswith("/"):
            return path
        folder = ctypes.c_int(arguments[place - 1] & 0xFFFFFFFF).value if place else -100
        base = os.readlink(f"/proc/{thread}/{'cwd' if folder < 0 else f'fd/{folder}'}")
        return os.path.join(base, path) if path else base
    except OSError:
        return ""


def number_of(error: str) -> int:
    """Return what `supervised` is told for the name of an errno, or for "kill"."""
    import errno

    return -signal.SIGKILL if error == "kill" else int(getattr(errno, error))
