"""Rebalancers, one method a file; the file name is the method's name in recipes."""
