"""Cells of other languages than Python: run through IPython's magics, shown without them.

``%%bash -e`` runs a cell as a shell script that ends at its first error, ``%%writefile NAME`` makes a file of it.
Readers see the script, or the file under its name.
"""

from docutils import nodes

LEXERS = {".toml": "toml", ".py": "python", ".sql": "sql"}


def show(app, doctree):
    """Take the first line off each cell that begins with a magic, and colour the rest as what it is."""
    for block in list(doctree.findall(nodes.literal_block)):
        magic, _, text = block.astext().partition("\n")
        if magic.startswith("%%bash"):
            _replace(block, text, "bash")
        elif magic.startswith("%%writefile "):
            name = magic.split()[-1]
            _replace(block, text, LEXERS["." + name.rpartition(".")[2]])
            block.parent.insert(block.parent.index(block), _caption(name))


def _replace(block, text, lexer):
    block["language"] = lexer
    block[:] = [nodes.Text(text)]
    block.rawsource = text


def _caption(name):
    return nodes.paragraph("", "", nodes.literal("", name), classes=["file-name"])
