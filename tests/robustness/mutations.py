"""Damage to files: blind, of bytes, and aware of the structure, of values, containers and databases.

Every function draws from a `random.Random` alone, so the same seed makes the same damage.
"""

import hashlib
import json
import math
import random
import re
import sqlite3
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Json = Any
Place = list[Any]
"""The keys that lead from a JSON value to a value within it."""

COUNTS = (0, 1, 2, 3, 7, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**62)
LARGEST = 2**64 - 1
NESTED: Json = []
for _ in range(200):
    NESTED = [NESTED]
# A value of every type, and of each those that are most often forgotten.
VALUES: tuple[Json, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 1.0, 1.5, -0.0, 1e-320, 1e308, math.nan, math.inf),
    *(
        2**31,
        2**53 + 1,
        2**63,
        2**64,
        10**30,
        "",
        "1",
        "none",
        "relu",
        "\x1b[2J",
        "a\nb",
        "\0",
        "é",
    ),
    *("\ud800", "x" * 5000, [], [0], [1, 2], [None], ["a"], [[]], [["a"]], [{}], {}, {"a": 1}),
    *({"": {}}, NESTED, list(range(300)), "../up", "/etc/passwd", "conv 3 3", "dropout 0.5"),
)


# -- bytes ---------------------------------------------------------------------------------------------


def _flip(rng: random.Random, data: bytearray, _: bytes) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, _: bytes) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x20, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _number(rng: random.Random, data: bytearray, _: bytes) -> None:
    """Overwrite a length, a count or an offset, of any width and order."""
    size = rng.choice((1, 2, 4, 4, 8, 8))
    value = rng.choice((*COUNTS, LARGEST, LARGEST - 1, 2**63)) & (2 ** (8 * size) - 1)
    place = rng.randrange(min(len(data), 256) if rng.random() < 0.5 else len(data))
    data[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _cut(rng: random.Random, data: bytearray, _: bytes) -> None:
    del data[rng.randrange(len(data)) :]


def _span(rng: random.Random, data: bytearray) -> slice:
    start = rng.randrange(len(data))
    length = rng.choice((1, 2, 4, 8, 16, 64, 512, 4096))
    return slice(start, min(len(data), start + length))


def _remove(rng: random.Random, data: bytearray, _: bytes) -> None:
    del data[_span(rng, data)]


def _repeat(rng: random.Random, data: bytearray, _: bytes) -> None:
    span = _span(rng, data)
    data[span] = data[span] * rng.choice((2, 2, 3, 20))


def _swap(rng: random.Random, data: bytearray, _: bytes) -> None:
    length = rng.choice((1, 4, 16, 64, 512))
    one, other = (rng.randrange(len(data)) // length * length for _ in range(2))
    first, second = data[one : one + length], data[other : other + length]
    if len(first) == len(second):
        data[one : one + length], data[other : other + length] = second, first


def _insert(rng: random.Random, data: bytearray, _: bytes) -> None:
    place, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 8, 100))
    data[place:place] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))


def _blank(rng: random.Random, data: bytearray, _: bytes) -> None:
    span = _span(rng, data)
    length = len(data[span])
    data[span] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))


def _append(rng: random.Random, data: bytearray, _: bytes) -> None:
    data += rng.choice(
        (b"\0", b"\n", bytes(1000), bytes(data[: rng.randrange(1, 1000)]), bytes(data))
    )


def _splice(rng: random.Random, data: bytearray, other: bytes) -> None:
    if other:
        data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


DAMAGES: tuple[Callable[[random.Random, bytearray, bytes], None], ...] = (
    *(_flip, _flip, _set, _number, _number, _cut, _remove, _repeat),
    *(_swap, _insert, _blank, _append, _splice),
)


def damaged(rng: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Return bytes with one to three damages; `other` is a file of the same kind, to splice with."""
    if rng.random() < 0.002:
        return b""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if made:
            rng.choice(DAMAGES)(rng, made, other)
    return bytes(made)


# -- values --------------------------------------------------------------------------------------------


def places(value: Json) -> list[Place]:
    """Return the places of all values within a JSON value, its own first."""
    below: Any = ()
    if isinstance(value, dict | list):
        below = value.items() if isinstance(value, dict) else enumerate(value)
    return [[], *([key, *rest] for key, one in below for rest in places(one))]


def at(value: Json, place: Place) -> Json:
    """Return the value at a place."""
    for key in place:
        value = value[key]
    return value


def altered(rng: random.Random, value: Json, values: Sequence[Json] = VALUES) -> Json:
    """Return a copy of a JSON value with one to three of its values replaced, removed, moved or renamed."""
    made = fresh(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        made = _altered_once(rng, made, values)
    return made


def _altered_once(rng: random.Random, made: Json, values: Sequence[Json]) -> Json:
    known = places(made)
    place = rng.choice(known[1:] or known)
    other = fresh(rng.choice(values))
    if not place:
        return other
    holder, key = at(made, place[:-1]), place[-1]
    action = rng.randrange(10)
    if action == 0:
        del holder[key]
    elif action == 1:
        holder[key] = fresh(at(made, rng.choice(known)))
    elif action == 2 and isinstance(holder, dict):
        new = rng.choice(("", "x", key.upper(), key + " ", *map(str, holder)))
        holder[new] = holder.pop(key)
    elif action == 2:
        holder.insert(key, other)
    elif action <= 5:
        holder[key] = _near(rng, holder[key], other)
    else:
        holder[key] = other
    return made


def fresh(value: Json) -> Json:
    """Return a copy of a JSON value, deep as it may be."""
    return json.loads(json.dumps(value))


def _near(rng: random.Random, value: Json, other: Json) -> Json:
    """Return a value of the same type or of one that compares as equal, which checks of equality miss."""
    if isinstance(value, bool):
        return rng.choice((int(value), float(value), not value))
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, float(value), bool(value), value * 2**32))
    if isinstance(value, float):
        return rng.choice(
            (-value, value * 1e300, math.nan, math.inf, int(value) if math.isfinite(value) else 0)
        )
    if isinstance(value, str):
        return rng.choice(
            (
                value + " ",
                value[1:],
                value.upper(),
                value * 9,
                value.encode("utf-8", "surrogatepass").hex(),
            )
        )
    if isinstance(value, list):
        return fresh(rng.choice((value * 2, value[1:], value[::-1], [value], [*value, other])))
    return {**value, rng.choice(("", "x", "format", "a.b")): other} if value else None


def spelled(rng: random.Random, value: Json) -> str:
    """Return the text of a JSON value, now and then one that no writer would give."""
    text = json.dumps(value, sort_keys=rng.random() < 0.5)
    draw = rng.random()
    if draw < 0.01:
        return rng.choice(
            ("", "[" * 100_000, '{"a":' * 5000, "9" * 5000, "nul", text + text, "\ufeff" + text)
        )
    if draw < 0.03 and text.startswith('{"'):  # the same key twice
        key = rng.choice(re.findall(r'"(\w+)": ', text) or ["a"])
        return f'{{"{key}": {json.dumps(rng.choice(VALUES))}, {text[1:]}'
    if draw < 0.05:
        return text.replace('"', rng.choice(("'", '\\"', "")), rng.randrange(1, 3))
    return text


# -- files of tensors ------------------------------------------------------------------------------------


def unpacked(data: bytes) -> tuple[dict[str, Json], bytes]:
    """Return the header and the tensors' bytes of a safetensors file."""
    end = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Json] = json.loads(data[8:end])
    return header, data[end:]


def packed(header: Json, content: bytes) -> bytes:
    """Return a safetensors file, or what would be one if the header made sense."""
    text = header if isinstance(header, str) else json.dumps(header)
    encoded = text.encode("utf-8", "surrogatepass")
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded + content


TYPES = {"F32": "float32", "F64": "float64", "U8": "uint8", "I64": "int64"}


def checksum(header: Mapping[str, Json], content: bytes, kind: str, version: str) -> str:
    """Return the checksum that belongs to a header and its tensors, as the format's documentation has it."""
    text = header["__metadata__"][kind]
    digest = hashlib.sha256(f"fastmlp {version} {kind}\n{text}\n".encode("utf-8", "surrogatepass"))
    for name in sorted(set(header) - {"__metadata__"}):
        entry = header[name]
        start, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        digest.update(f"{name} {TYPES[entry['dtype']]} {shape}\n".encode("utf-8", "surrogatepass"))
        digest.update(content[start:end])
    return digest.hexdigest()


def container(rng: random.Random, data: bytes, kind: str) -> tuple[bytes, bool]:
    """Damage the header, the description or the tensors of a file, mostly with a right checksum.

    Returns
    -------
    data : bytes
    sealed : bool
        Whether the checksum fits, so that the content is no longer what was written but well-formed.
    """
    header, content = unpacked(data)
    metadata = header["__metadata__"]
    draw = rng.random()
    if draw < 0.7:
        metadata[kind] = spelled(rng, altered(rng, json.loads(metadata[kind])))
    elif draw < 0.8:
        changed = bytearray(content)
        for _ in range(rng.choice((1, 4))):
            value = rng.choice((math.nan, math.inf, -math.inf, 1e38, 1e-45, 0.0, -1.0))
            place = rng.randrange(len(changed) // 8) * 8
            wide = rng.random() < 0.5
            changed[place : place + 8] = struct.pack("<d" if wide else "<2f", *[value] * (2 - wide))
        content = bytes(changed)
    else:
        header = altered(rng, header)
    sealed = rng.random() < 0.85
    if sealed:
        try:
            found = header["__metadata__"]
            found["checksum"] = checksum(header, content, kind, found["format_version"])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            sealed = False  # no checksum belongs to such a header
    return packed(header, content), sealed


# -- TOML ------------------------------------------------------------------------------------------------


def toml(table: Mapping[str, Json]) -> str:
    """Return the text of a TOML file, each table within the first level inline."""
    lines = [
        f"{_key(name)} = {_toml(value)}\n" for name, value in table.items() if not _is_table(value)
    ]
    for name, value in table.items():
        if _is_table(value):
            lines.append(f"[{_key(name)}]\n")
            lines += [f"{_key(one)} = {_toml(inner)}\n" for one, inner in value.items()]
    return "".join(lines)


def _is_table(value: Json) -> bool:
    return isinstance(value, dict)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)


def _toml(value: Json) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(name)} = {_toml(one)}' for name, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if value is None:
        return "1979-05-27T07:32:00Z"  # TOML has dates instead
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    return json.dumps(value)


def toml_text(rng: random.Random, text: str) -> bytes:
    """Return a TOML text with lines doubled, moved, removed or nested, or in another encoding."""
    lines = text.splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 2))):
        place, action = rng.randrange(len(lines)), rng.randrange(9)
        line = lines[place]
        if action == 0:
            lines.insert(rng.randrange(len(lines)), line)
        elif action == 1:
            del lines[place]
        elif action == 2:
            other = rng.randrange(len(lines))
            lines[place], lines[other] = lines[other], line
        elif action == 3:
            dotted = ".".join(rng.choice("abxyz") for _ in range(rng.choice((2, 30, 600))))
            lines.insert(place, f"{dotted} = 1\n" * rng.choice((1, 30)))
        elif action == 4:
            depth = rng.choice((3, 50, 1000, 20_000))
            lines.insert(
                place,
                f"x = {rng.choice('[{')}".replace("{", "{a=") + "[" * depth + "]" * depth + "\n",
            )
        elif action == 5:
            lines[place] = line.replace("[", "[[").replace("]", "]]")
        elif action == 6:
            lines[place] = rng.choice(("\0", "\x1b[2J", "é", '"""', "'", "#")) + line
        elif action == 7 and "=" in line:
            value = rng.choice(
                ("9" * 5000, "0x" + "f" * 300, "1e400", "07:32:00", "1979-05-27", "''", "[{}]")
            )
            lines[place] = f"{line.partition('=')[0]}= {value}\n"
        elif action == 8:
            lines.insert(
                place, "".join(f"[t{'.t' * number}]\n" for number in range(rng.choice((2, 200))))
            )
        if not lines:
            break
    made = "".join(lines)
    encoding = rng.choice(("utf-8",) * 6 + ("utf-8-sig", "utf-16", "utf-16-le", "latin-1"))
    return made.encode(encoding, "replace")


# -- SQLite ----------------------------------------------------------------------------------------------


def sql(rng: random.Random, path: str, seal: Callable[[Mapping[str, Any]], str] | None) -> None:
    """Change one to three cells of a database of trials, mostly with the row's checksum made right again."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        rows = [dict(row) for row in database.execute("SELECT * FROM trials ORDER BY id")]
        row = rng.choice(rows)
        for _ in range(rng.choice((1, 1, 2))):
            name = rng.choice([name for name in row if name not in ("id", "checksum")])
            row[name] = _cell(rng, row[name])
        if seal is not None:
            row["checksum"] = seal(row)
        names = [name for name in row if name != "id"]
        statement = f"UPDATE trials SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?"
        database.execute(statement, [row[name] for name in names] + [row["id"]])
    except (sqlite3.Error, OverflowError, UnicodeEncodeError, TypeError):
        pass  # a cell that the database itself refuses: the file stays whole
    finally:
        database.close()


def _cell(rng: random.Random, value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "[{" and rng.random() < 0.8:
        try:
            return spelled(rng, altered(rng, json.loads(value)))
        except ValueError:
            return value
    plain = [one for one in VALUES if not isinstance(one, list | dict)]
    return rng.choice((*plain, b"", b"\xff\xfe", b"x\x9c", value, bytes(3000)))
