"""Reference networks: one file per model, each with one settings class named after the file."""
