"""CSV: UTF-8 text with commas and a header line; `storage/ingest/delimited.py` says how it is read."""

from storage.ingest.delimited import Delimited

PLACE = "line"
"""What a place in this kind of source is called."""

_TEXT = Delimited(kind="csv", delimiter=",", spoken="commas")

columns = _TEXT.columns
read = _TEXT.read
fingerprint = _TEXT.fingerprint
