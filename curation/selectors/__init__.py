"""Selectors, one rule a file; the file name is the rule's name in recipes."""
