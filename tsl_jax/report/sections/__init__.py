"""One section of the page a file: of what was found its words, tables and figures."""
