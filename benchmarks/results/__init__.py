"""What stands in docs/results.md: experiments as recipes, run side by side, resumed, and written row by row."""
