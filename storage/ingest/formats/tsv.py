"""TSV: UTF-8 text with tabs and a header line, quoted as CSV is; `storage/ingest/delimited.py` says how it is read."""

from storage.ingest.delimited import Delimited

PLACE = "line"
"""What a place in this kind of source is called."""

_TEXT = Delimited(kind="tsv", delimiter="\t", spoken="tabs")

columns = _TEXT.columns
read = _TEXT.read
fingerprint = _TEXT.fingerprint
