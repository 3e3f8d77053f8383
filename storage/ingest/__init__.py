"""Ingest: turns a source into the Parquet parts of a data set, in bounded memory."""
