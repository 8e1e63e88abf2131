"""Data, training, evaluation, suites, statistics and reports."""
