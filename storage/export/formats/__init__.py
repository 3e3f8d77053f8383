"""One module a format: `write(rows, target)` fills `target` with all blocks; `IS_FILE` says whether it is one file."""
