"""How Sphinx builds the documentation: ``python -m sphinx -W -j auto docs docs/_build/html``.

Every example is executed while the site is built, in a folder of its own. What the package says of itself (settings,
tables, reports) is written into pages by `docs/generate.py` before Sphinx reads them. Nothing needs the network.
"""

import importlib.util
import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]
# Examples find the commands of this environment, whether it was activated or not, and this tree's package.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ["PYTHONPATH"] = os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")])

import cells
import generate
from jupyter_client.manager import KernelManager

import fastmlp

if hasattr(KernelManager, "transport_encryption"):  # of jupyter_client 8.9 on, which else warns
    KernelManager.transport_encryption.default_value = "auto"

project = "fastmlp"
author = "The fastmlp authors"
copyright = author
version = release = fastmlp.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_generated", "**.ipynb_checkpoints"]
templates_path = ["_templates"]
default_role = "py:obj"  # `name` in a docstring is a link, where the name has a page

# Markdown and its examples.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_output_stderr = "remove"  # progress bars
# Pages that need what is large: they are executed where it is installed.
LARGE = {"how-to/pytorch.md": ("torch",), "how-to/loggers.md": ("mlflow", "tensorboard", "wandb")}
nb_execution_excludepatterns = [
    page for page, packages in LARGE.items() if not all(map(importlib.util.find_spec, packages))
]
if nb_execution_excludepatterns:
    suppress_warnings = ["myst-nb.lexer"]  # of cells that were not executed

# Docstrings.
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# The site.
html_theme = "pydata_sphinx_theme"
html_title = f"fastmlp {version}"
html_static_path = ["_static"]
html_css_files = ["fastmlp.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_with_keys": False,
    "show_toc_level": 2,
}
html_sidebars = {"index": []}


def escape(app, context, lines):
    """Keep the stars in the text of a command, which is no markup."""
    lines[:] = [line.replace("*", r"\*") for line in lines]


def setup(app):
    """Write the generated pages, and show cells of other languages as what they are."""
    app.connect("builder-inited", lambda app: generate.write_pages(DOCS))
    app.connect("sphinx-click-process-description", escape)
    app.connect("doctree-read", cells.show)
    app.connect("doctree-read", cells.join)
