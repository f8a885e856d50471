"""Settings of the site that `make docs` builds with Sphinx."""

import sys
from pathlib import Path

import tsl_jax

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "tsl_jax"
release = version = tsl_jax.__version__
author = copyright = "the authors of tsl_jax"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "api_pages",
    "command_page",
]
exclude_patterns = ["_build", "_templates", "_extensions", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]

# Pages are Markdown; notebooks are shown with the outputs that they are kept with, and tests execute them.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

# Names in single backticks become links where they are documented; api_pages.py finds names from other packages.
default_role = "py:obj"
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_attr_annotations = False
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar, napoleon_use_rtype, napoleon_use_admonition_for_examples = True, False, False

html_theme = "pydata_sphinx_theme"
html_title = f"tsl_jax {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = html_copy_source = False
html_sidebars = {"start": []}  # has no pages below it
html_theme_options = {
    "logo": {"text": "tsl_jax"},
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}
