"""Files of tables -> pandas DataFrames: CSV, TSV, Parquet, Feather and Arrow, by pandas and pyarrow."""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fastmlp.datasets.table_columns import pandas
from fastmlp.errors import DataError, FastMLPError, line_of
from fastmlp.machine.files import found_at

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t"}
ARROW = (".feather", ".arrow")
SUFFIXES = (*SEPARATORS, ".csv.gz", ".tsv.gz", ".parquet", *ARROW)
BEGINNING = 1 << 16  # bytes that are looked at before a text is parsed
# What a compressed table may hold: more than that no table of numbers or texts has, but a bomb.
USUAL_BYTES, TEXT_A_BYTE, VALUES_A_BYTE = 1 << 26, 100, 1000
VALUE = 8  # bytes in memory
_WHOLE = re.compile(r"(\s*[-+]?[0-9]{1,4300}\s*)?")  # of more digits Python makes no number
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
FOREIGN = {  # how files of other kinds begin
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"PK\x03\x04": "a ZIP archive, such as Excel's",
    b"\x1f\x8b": "a gzip archive",
    b"\xff\xfe\0\0": "UTF-32 text",
    b"\0\0\xfe\xff": "UTF-32 text",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def read_table(path: Path, texts: Collection[str] = ()) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    path : Path
        Its name ends in one of `SUFFIXES`.
    texts : collection of str
        Columns of a text file that are kept as they are spelled, where pandas would look for numbers.

    Returns
    -------
    pandas.DataFrame
        With different names of columns, and at least one row.

    Raises
    ------
    DataError
        If it is no such file, damaged, empty or in another encoding; the message names it.
    FastMLPError
        If pandas or pyarrow is not installed.
    """
    pandas()
    if not path.is_file():  # reading a pipe might never end
        raise DataError(f"{path}: found {found_at(path)}, expected a table in a file")
    name = path.name.lower()
    suffix = next(one for one in SUFFIXES if name.endswith(one))
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", pandas().errors.ParserWarning)
            is_text = suffix.removesuffix(".gz") in SEPARATORS
            frame = _from_text(file, suffix, texts) if is_text else _from_columns(file, suffix)
    except FastMLPError as error:
        raise type(error)(f"{path}: {error}") from None
    except Exception as error:  # parsers raise whatever the damaged bytes lead them to
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise DataError(f"{path}: {_reason(error)}; expected a table") from error
    if not len(frame):
        raise DataError(f"{path}: found no rows, expected a table with at least one")
    return frame


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return (
            f"found the byte {error.object[error.start]:#x}, which is not UTF-8; save it as UTF-8"
        )
    return f"cannot be read: {line_of(error)}"


def _from_text(file: BinaryIO, suffix: str, texts: Collection[str]) -> pd.DataFrame:
    """Read a table of text; the first line has the names."""
    separator = SEPARATORS[suffix.removesuffix(".gz")]
    compression = "gzip" if suffix.endswith(".gz") else None
    options: dict[str, Any] = {"sep": separator, "encoding": "utf-8", "skipinitialspace": True}
    options["compression"] = compression
    if compression:
        _check_unpacked(file)
    _check_beginning(file, compression)
    header = pandas().read_csv(
        file, header=None, nrows=1, dtype=str, keep_default_na=False, **options
    )
    names = [str(name) for name in header.iloc[0]]
    if len(names) == 1 and (other := set(OTHER_SEPARATORS) & set(names[0])):
        words = OTHER_SEPARATORS[min(other)]
        raise DataError(
            f"found one column {names[0]!r}, expected columns separated by "
            f"{'tabs' if separator != ',' else 'commas'}, not {words}; save it so"
        )
    index = names[0] == ""  # of the rows, as pandas writes it
    for number, name in enumerate(names[index:], 1 + index):
        if not name.strip():
            raise DataError(f"column {number}: found no name, expected one in the first line")
    _check_names(names[index:])
    file.seek(0)
    kept = {name: str for name in texts if name in names}
    frame = pandas().read_csv(file, low_memory=False, index_col=False, dtype=kept, **options)
    for name, kind in frame.dtypes.items():
        if kind.kind == "O" and name not in kept and _are_whole(frame[name]):
            numbers = [int(one) if isinstance(one, str) and one else None for one in frame[name]]
            frame[name] = pandas().Series(numbers, frame.index, dtype=object)
    return frame.iloc[:, 1:] if index else frame


def _are_whole(column: pd.Series[Any]) -> bool:
    """Return whether a column that pandas left as texts holds whole numbers alone.

    It leaves them so for some with more than 63 bits: pandas 3 beside negative ones and missing ones, which are
    empty texts then, and pandas 2 always.
    """
    present = column[~column.isna().to_numpy()]
    return all(isinstance(one, str) and _WHOLE.fullmatch(one) for one in present)


def _check_unpacked(file: BinaryIO) -> None:
    """Refuse a compressed text that is damaged, or far larger than its file explains."""
    most = USUAL_BYTES + TEXT_A_BYTE * os.fstat(file.fileno()).st_size
    with gzip.open(file) as text:
        while text.read(BEGINNING):
            if text.tell() > most:
                raise DataError(f"found over {most} bytes of text, expected less; unpack it first")
    file.seek(0)


def _check_beginning(file: BinaryIO, compression: str | None) -> None:
    """Refuse a file that is no text."""
    beginning = file.read(BEGINNING)
    file.seek(0)
    if compression and beginning:
        beginning = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(beginning, BEGINNING)
    if not beginning.strip():
        raise DataError("found an empty file, expected a table whose first line has the names")
    for start, words in FOREIGN.items():
        if beginning.startswith(start):
            raise DataError(f"found {words}, expected text in UTF-8; save it so, or rename it")
    if b"\0" in beginning:
        raise DataError("found a binary file, expected text in UTF-8")


def _from_columns(file: BinaryIO, suffix: str) -> pd.DataFrame:
    """Read a table in a format of Arrow."""
    try:
        import pyarrow
        from pyarrow import feather, parquet
    except ImportError as error:
        raise FastMLPError(
            f"found no pyarrow ({error}), expected it; pip install 'fastmlp[tables]'"
        ) from error
    if not file.read(1):
        raise DataError("found an empty file, expected a table")
    file.seek(0)
    if suffix not in ARROW:
        opened = parquet.ParquetFile(file, page_checksum_verification=True)
        values = opened.metadata.num_rows * opened.metadata.num_columns
        most = (USUAL_BYTES + VALUES_A_BYTE * os.fstat(file.fileno()).st_size) // VALUE
        if values > most:
            raise DataError(f"found {values:,} values, expected at most {most:,} in such a file")
        table = opened.read()
    else:
        try:
            table = feather.read_table(file)
        except pyarrow.ArrowInvalid:  # a stream, which has no table of contents
            file.seek(0)
            table = pyarrow.ipc.open_stream(file).read_all()
    table.validate(full=True)  # of damaged lengths and texts other code would read beyond the end
    _check_names(table.column_names)
    return table.to_pandas()


def _check_names(names: Sequence[str]) -> None:
    """Raise a DataError for a name that comes twice."""
    for name, count in Counter(names).most_common(1):
        if count > 1:
            raise DataError(
                f"found the column {name!r} twice, expected different names; rename one"
            )
