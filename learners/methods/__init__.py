"""Training rules: one file per method, each with one `Learner` named after it."""
