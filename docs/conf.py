"""How the pages of this folder become a site: `sphinx-build -W docs site`."""

from importlib.metadata import version as installed

project = "ckptfmt"
author = "ckptfmt"
copyright = "the authors of ckptfmt"
release = installed("ckptfmt")
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["recipes/**"]
html_theme = "furo"
html_title = f"ckptfmt {release}"
# Nothing is loaded from elsewhere, and no page says when it was built.
html_last_updated_fmt = None
html_show_sphinx = False
# Headings of Markdown get anchors, which links between pages use.
myst_heading_anchors = 3
# README.md is the first page; from there the documents lie below `docs/`.
suppress_warnings = ["myst.header"]
# Docstrings are prose with single backquotes, as the code's editors show them.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
