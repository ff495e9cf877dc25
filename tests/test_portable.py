"""What only some systems have is in ``fastmlp/machine`` and nowhere else, and every text has an encoding."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastmlp

PACKAGE = Path(fastmlp.__file__).parent
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if "machine" not in path.parts[-2:-1]]

# Of ``os``: what Windows or macOS lack, or do in another way. `os.fsync` flushes less on macOS.
OF_SOME_SYSTEMS = re.compile(
    r"sched_|fork|posix_|pidfd_|register_at_fork|p?wait|killpg$|nice$|uname$|getloadavg$"
    r"|[gs]et(e?[ug]id|res[ug]id|pgid|pgrp|sid|groups|priority)|sysconf|confstr|ctermid|chroot"
    r"|l?chown|f?ch(mod|own)$|mkfifo|mknod|f?statvfs|f?sync$|fdatasync|pipe2|sendfile|splice"
    r"|memfd_|eventfd|timerfd|copy_file_range|preadv?$|pwritev?$|[gs]etxattr|listxattr|lockf"
    r"|O_(DIRECTORY|NOFOLLOW|NONBLOCK|CLOEXEC|D?SYNC|TMPFILE|PATH|DIRECT|BINARY)$|getppid$|name$|WIF|EX_"
)
SIGNALS = re.compile(
    r"SIG(HUP|KILL|QUIT|USR\d|ALRM|CHLD|CONT|STOP|PIPE|TSTP|WINCH|BREAK)$|alarm$|setitimer$"
    r"|pthread_|sigwait|siginterrupt|CTRL_"
)
MODULES = {
    *("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "spwd"),
    *("winreg", "msvcrt", "_winapi", "nt", "ctypes"),
}
ABSOLUTE = re.compile(r"/(proc|sys|dev|etc|tmp|usr|var)(/|$)|[A-Z]:\\")


def docstrings(tree: ast.AST) -> set[int]:
    """Return the numbers of the nodes that are documentation."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def is_of_some_systems(owner: str, name: str) -> bool:
    """Return whether a name of a module exists on some systems alone, or tells them apart."""
    return bool(
        (owner == "os" and OF_SOME_SYSTEMS.match(name))
        or (owner == "signal" and SIGNALS.match(name))
        or (owner == "sys" and name in ("platform", "getwindowsversion"))
        or (owner == "platform" and name in ("system", "uname", "mac_ver", "win32_ver", "libc_ver"))
    )


def calls_of_some_systems(source: str) -> Iterator[str]:
    """Yield what a file uses that only some systems have, each with its line."""
    tree = ast.parse(source)
    words = docstrings(tree)
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = [(node.value.id, node.attr)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            owner, name = node.args[:2]
            found = (
                [(ast.unparse(owner), ast.literal_eval(name))]
                if isinstance(name, ast.Constant)
                else []
            )
        elif isinstance(node, ast.ImportFrom) and node.module:
            found = [(node.module, alias.name) for alias in node.names]
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (
            f"{node.lineno}: import {one}" for one in modules if one.partition(".")[0] in MODULES
        )
        yield from (f"{node.lineno}: {'.'.join(one)}" for one in found if is_of_some_systems(*one))
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in words and ABSOLUTE.match(node.value):
            yield f"{node.lineno}: {node.value!r}"


def texts_without_encoding(source: str) -> Iterator[str]:
    """Yield the calls that read or write text in the encoding of the user's system."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        given = {word.arg: word.value for word in node.keywords}
        if "encoding" in given:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        is_method = isinstance(node.func, ast.Attribute)
        place = {"open": 0 if is_method else 1, "fdopen": 1}.get(name)
        mode = given.get("mode")
        if mode is None and place is not None and len(node.args) > place:
            mode = node.args[place]
        is_text = isinstance(mode, ast.Constant) and isinstance(mode.value, str)
        is_text = is_text and re.fullmatch("[rwax+t]+", mode.value) is not None
        if (
            (is_method and name == "read_text" and len(node.args) < 1)
            or (is_method and name == "write_text" and len(node.args) < 2)
            or (name == "open" and not is_method and mode is None)
            or (place is not None and is_text)
            or name == "TextIOWrapper"
            or {"text", "universal_newlines"} & set(given)
        ):
            yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_machine_knows_the_system(path: Path) -> None:
    assert list(calls_of_some_systems(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_every_text_has_an_encoding(path: Path) -> None:
    assert list(texts_without_encoding(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import os\nos.sched_getaffinity(0)", True),
        ("os.fork()", True),
        ("os.geteuid()", True),
        ("hasattr(os, 'geteuid')", True),
        ("from os import sched_yield", True),
        ("import fcntl", True),
        ("from ctypes import CDLL", True),
        ("signal.SIGKILL", True),
        ("getattr(signal, 'SIGHUP', None)", True),
        ("if sys.platform == 'win32': pass", True),
        ("Path('/proc/self/status')", True),
        ("open('/dev/null')", True),
        ('"""Of /proc and os.fork()."""', False),
        ("os.replace(a, b); os.cpu_count(); signal.SIGTERM; signal.SIGINT", False),
        ("buffer.ctypes.data", False),
        ("'/a/link'", False),
    ],
)
def test_the_check_sees_them(source: str, seen: bool) -> None:
    assert bool(list(calls_of_some_systems(source))) == seen


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("open(path)", True),
        ("open(path, 'w')", True),
        ("path.open('r')", True),
        ("path.read_text()", True),
        ("path.write_text(text)", True),
        ("subprocess.run(command, text=True)", True),
        ("open(path, 'rb')", False),
        ("archive.open(member)", False),
        ("path.read_text('utf-8')", False),
        ("path.write_text(text, encoding='utf-8')", False),
        ("write_text(path, text)", False),
        ("subprocess.run(command, text=True, encoding='utf-8')", False),
    ],
)
def test_the_check_sees_texts(source: str, seen: bool) -> None:
    assert bool(list(texts_without_encoding(source))) == seen
