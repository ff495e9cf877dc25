"""Cells of other languages than Python: run through IPython's magics, shown without them.

``%%bash -e`` runs a cell as a shell script that ends at its first error, ``%%writefile NAME`` makes a file of it.
Readers see the script, or the file under its name. What a script prints arrives in pieces; they see it in one.
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


def join(app, doctree):
    """Put pieces of printed text that follow each other into one."""
    for block in list(doctree.findall(nodes.literal_block)):
        before = block.parent[block.parent.index(block) - 1] if block.parent.index(block) else None
        printed = "stream" in block["classes"] and isinstance(before, nodes.literal_block)
        if printed and "stream" in before["classes"]:
            before[:] = [nodes.Text(before.astext() + block.astext())]
            before.rawsource = before.astext()
            block.parent.remove(block)


def _replace(block, text, lexer):
    block["language"] = lexer
    block[:] = [nodes.Text(text)]
    block.rawsource = text


def _caption(name):
    return nodes.paragraph("", "", nodes.literal("", name), classes=["file-name"])
