"""The harness: methods × data sets × metrics to tables, figures and one self-contained report."""
