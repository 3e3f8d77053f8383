"""Scorers, selectors, planted label noise and agreement metrics: choosing examples without touching them."""
