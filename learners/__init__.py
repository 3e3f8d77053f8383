"""Training rules, networks, the training loop, the signals it records, and evaluation."""
