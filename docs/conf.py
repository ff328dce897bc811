"""Sphinx: the guide, and the reference from the package's docstrings. `sphinx-build -W docs build/docs`, with sigrun[docs] installed."""

import sigrun

project = "sigrun"
version = release = sigrun.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "alabaster"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_inherit_docstrings = True
napoleon_custom_sections = [("Yields", "params_style")]
myst_heading_anchors = 3
exclude_patterns = ["build"]
