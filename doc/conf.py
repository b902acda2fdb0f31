"""Sphinx configuration; `make docs` builds with warnings as errors."""

from lsst.ts.ocps import __version__

project = "ts_ocps"
author = "the ts_ocps developers"
version = release = __version__
extensions = []
exclude_patterns = ["_build", "news"]
html_theme = "alabaster"
nitpicky = True
