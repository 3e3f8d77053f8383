"""Source formats, one file each; the file name is the format's name in recipes.

A format module has `columns(location)` (the header), `read(location, types)` (blocks of rows)
and `fingerprint(location)` (a hash of the content).
"""
