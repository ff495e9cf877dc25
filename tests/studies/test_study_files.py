"""Study files from anywhere: every field of a type, files that stay in their folder, texts that are texts."""

import copy
import itertools
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastmlp.errors import ConfigError
from fastmlp.reporting import document
from fastmlp.studies import study as studies
from fastmlp.studies.check import check
from fastmlp.studies.report import _drawn as shown
from fastmlp.studies.report import refuse_links
from fastmlp.studies.study import Study

FULL = """
[study]
title = "T"
about = "A"
percent = true
[study.parts.more]
label = "more"
kind = "penalised"
seeds = 1
data = { name = "digits" }
config = { restore_best = false }
grid = { momentum = [0.5] }
[[study.section]]
title = "S"
text = "text"
tolerance = 0.1
columns = ["test_accuracy"]
[[study.section.row]]
label = "r"
part = "more"
where = { momentum = 0.5 }
best = true
tell = ["momentum"]
epoch = 1
published = { test_accuracy = 0.5 }
because = "b"
confusion = true
[[study.section]]
title = "S"
epochs = [{ at = [1, 2], quantities = ["train_loss"], published = { train_loss = [0.5, nan] } }]
clock = [{ says = "c", part = "more", per = "grid", published = 2.5 }]
measure = ["balance"]
twins = [{ ours = "main", theirs = "more" }]
record = { part = "more", where = { momentum = 0.5 }, accuracy = 0.9, seconds = 1, all_seconds = 2.5 }
all = ["main"]
claim = [
  { kind = "order", says = "o", note = "n", metric = "train_loss", lower = true, epoch = 1, sides = [
    { label = "a", change = [1, 2] },
  ] },
  { kind = "same", says = "s", metric = "train_loss", sides = [{ label = "a" }, { label = "b" }] },
  { kind = "sooner", says = "s", metric = "train_loss", level = 0.5, sides = [{ label = "a" }] },
  { kind = "pairs", says = "p", metric = "train_loss", axis = "momentum", worse = 0.5, better = [0.0], most = 0.5 },
  { kind = "within", says = "w", metric = "train_loss", axis = "momentum", low = 0, high = 1 },
]
[[study.section.figure]]
kind = "series"
file = "a"
caption = "c"
by = "momentum"
quantities = ["train_loss"]
words = ["w"]
legend = "l"
log = true
[[study.section.figure]]
kind = "parts"
file = "b"
caption = "c"
cost = true
sides = [{ label = "a", part = "main" }]
[[study.section.figure]]
kind = "bars"
file = "c"
caption = "c"
axis = "words"
quantities = ["train_loss"]
twins = ["main", "more"]
words = ["v", "w"]
sides = [{ label = "a" }]
[[study.section.figure]]
kind = "samples"
file = "d"
caption = "c"
normalized = false
[[study.section.figure]]
kind = "features"
file = "e"
caption = "c"
image = 3
where = { momentum = 0.5 }
"""
HEAD = '[data]\nname = "digits"\n[config]\nrestore_best = false\n'
VALUES = (
    7,
    -1,
    10**400,
    0.5,
    float("nan"),
    float("inf"),
    True,
    "x",
    "",
    [],
    [1],
    ["x"],
    [[]],
    [{}],
    {},
    {"x": 1},
)


def written(document: Any) -> str:
    """Return a value as TOML, tables inline."""
    match document:
        case bool():
            return str(document).lower()
        case dict():
            return "{ " + ", ".join(f"{k} = {written(v)}" for k, v in document.items()) + " }"
        case list():
            return f"[{', '.join(map(written, document))}]"
        case str():
            return json.dumps(document)
    return repr(document)


def read(folder: Path, table: Any) -> Study:
    path = folder / "mine.toml"
    path.write_text(f"study = {written(table)}\n{HEAD}")
    study = Study.from_toml(path)
    check(study)
    return study


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each value of a document is."""
    if path:
        yield path
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from places(value[key], (*path, key))


TABLE = tomllib.loads(FULL)["study"]


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_each_field_of_each_other_type_is_refused_in_one_line_or_means_something(
    tmp_path: Path, step: int
) -> None:
    read(tmp_path, TABLE)
    messages = []
    for path, value in list(itertools.product(places(TABLE), VALUES))[::step]:
        changed = copy.deepcopy(TABLE)
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        try:
            read(tmp_path, changed)
        except ConfigError as error:
            messages.append(str(error))
    assert len(messages) > 1200 / step
    assert not any("\n" in one for one in messages)
    assert all("found" in one or "no such" in one for one in messages)


def test_every_field_left_out_is_refused_or_not_needed(tmp_path: Path) -> None:
    for path in places(TABLE):
        changed = copy.deepcopy(TABLE)
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        messages = []
        try:
            read(tmp_path, changed)
        except ConfigError as error:
            messages.append(str(error))
        assert not any("\n" in one for one in messages)


def test_studies_of_the_package_pass() -> None:
    for name in studies.names():
        check(studies.find(name))


# -- files -------------------------------------------------------------------------------------

ELSEWHERE = [
    *(
        "../victim",
        "a/b",
        "/tmp/victim",
        "a\\b",
        "..\\victim",
        "C:victim",
        "C:\\victim",
        "a:stream",
    ),
    *(
        "\\\\server\\share",
        "~",
        "~/a",
        ".",
        "..",
        "",
        " ",
        ".hidden",
        "-o",
        "a ",
        "a\n",
        "a\t",
        "\x1b[31m",
    ),
    *(
        "CON",
        "con",
        "nul",
        "Aux.png",
        "com1",
        "LPT9.x",
        "COM\u00b9",
        "a*",
        "a?",
        "<a>",
        "a|b",
        '"a"',
        "$a",
    ),
    *("a" * 101, "a\u202eb", "a\u0000b"),
]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_figure_goes_nowhere_else(tmp_path: Path, name: str) -> None:
    changed = copy.deepcopy(TABLE)
    changed["section"][1]["figure"][0]["file"] = name
    with pytest.raises(ConfigError, match=r"figure, number 1.file: found .* expected a plain name"):
        read(tmp_path, changed)


@pytest.mark.parametrize(
    "name", ["a", "a-b_c.d+e", "a b", "1", "\u00e9t\u00e9", "console", "com10"]
)
def test_plain_names_stay(tmp_path: Path, name: str) -> None:
    changed = copy.deepcopy(TABLE)
    changed["section"][1]["figure"][0]["file"] = name
    read(tmp_path, changed)


@pytest.mark.parametrize("name", ["B", "confusion"])
def test_two_figures_have_two_files(tmp_path: Path, name: str) -> None:
    changed = copy.deepcopy(TABLE)
    changed["section"][1]["figure"][0]["file"] = name
    changed["section"][0]["measure"] = ["confusion"]
    with pytest.raises(ConfigError, match=f"found figures of the files .*{name}.* expected others"):
        read(tmp_path, changed)


@pytest.mark.parametrize("name", ["a.png", "report.md", "trials.csv", "machine.json"])
def test_links_in_the_folder_are_not_followed(tmp_path: Path, name: str) -> None:
    study, folder = read(tmp_path, TABLE), tmp_path / "out"
    folder.mkdir()
    refuse_links(study, folder)
    victim = tmp_path / "victim"
    victim.write_text("kept")
    try:
        (folder / name).symlink_to(victim)
    except OSError:
        pytest.skip("no symbolic links here")
    with pytest.raises(ConfigError, match=rf"{name}: found a link, expected a file of this report"):
        refuse_links(study, folder)


def test_a_picture_of_what_was_not_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"PNG")
    drawn, missing = (document.Picture(f"{name}.png", "what") for name in "ab")
    assert shown(drawn, tmp_path) is drawn
    assert shown(missing, tmp_path) == document.Paragraph(
        "*what*: not drawn, because what it shows was not run."
    )


def test_a_study_of_an_odd_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "...toml"
    path.write_text(HEAD)
    with pytest.raises(ConfigError, match=r"\.\.\.toml: found the name '..', expected"):
        Study.from_toml(path)


# -- texts -------------------------------------------------------------------------------------

LIVE = [
    "[x](javascript:alert(1))",
    "[x](JavaScript:alert)",
    "[x]( javascript:alert )",
    "[x](\tjavascript:alert)",
    "[x](java\u0000script:alert)",
    "[x](javascript&#58;alert)",
    "[x](&#106;avascript:alert)",
    "[x](<javascript:alert>)",
    "[x](data:text/html,hello)",
    "[x](vbscript:x)",
    "[x](file:///etc/passwd)",
    '[x](https://a.b" onmouseover="alert(1))',
    "![x](https://a.b/pixel.png)",
    "![x](a.png)",
    "[x]: javascript:alert",
    "<javascript:alert>",
    "<https://a.b>",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></table><b>x</b>",
    "<!-- x -->",
    "<?x ?>",
    "[[x](https://a.b)](javascript:alert)",
]


def blocks(text: str) -> list[document.Block]:
    table = document.Table([text], [[text]])
    return [
        document.Heading(text, 1),
        document.Paragraph(text),
        table,
        document.Picture("a.png", text),
        document.Details(text, table),
    ]


@pytest.mark.parametrize("text", LIVE)
def test_nothing_in_a_text_is_live(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.png").write_bytes(b"PNG")
    page = document.to_html(blocks(text), tmp_path)
    for word in ("<script", "<img src=x", 'onmouseover="', "<b>", "<!-- x", "<?x"):
        assert word not in page
    for link in page.split('href="')[1:]:
        assert link.startswith('https://a.b"')
    assert page.count("<img") == 1
    plain = document.to_markdown(blocks(text)[:-1])
    assert not any(word in plain for word in ("<s", "<i", "<j", "<h", "</", "<!", "<?"))
    outside = plain.replace("![", "", 1).replace("](a.png)", "", 1)  # the picture of the report
    for target in outside.split("](")[1:]:
        assert target.startswith(("https://a.b)", "https://a.b/pixel.png)", "a.png)"))
    assert "![" not in plain.replace("\n![", "")
    assert "]:" not in plain


def test_markdown_shows_a_live_text_as_text() -> None:
    """With a reader of Markdown, where one is installed."""
    markdown = pytest.importorskip("markdown_it")
    for text in LIVE:
        page = markdown.MarkdownIt().render(document.to_markdown([document.Paragraph(text)]))
        for link in page.split('href="')[1:]:
            assert link.startswith('https://a.b"'), text
        assert "<img" not in page
        assert "<script" not in page


def test_links_that_lead_somewhere_stay(tmp_path: Path) -> None:
    text = "see [trials](trials.csv), [the page](https://a.b/c?d=e&f=1#g) and `[x](y:z) <b>`, 1 < 2"
    assert document.to_markdown([document.Paragraph(text)]) == text + "\n"
    page = document.to_html([document.Heading("T", 1), document.Paragraph(text)], tmp_path)
    assert '<a href="trials.csv">trials</a>' in page
    assert '<a href="https://a.b/c?d=e&amp;f=1#g">the page</a>' in page
    assert "<code>[x](y:z) &lt;b&gt;</code>" in page
