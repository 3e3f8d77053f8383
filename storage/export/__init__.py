"""Export: rows of a version in the formats of other tools, at a place outside the store that the user names."""
