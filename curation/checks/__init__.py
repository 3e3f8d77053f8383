"""Checks of a subset: what a selection did to the examples as a whole, one check a file."""
