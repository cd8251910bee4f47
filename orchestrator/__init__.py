"""What the user calls: the command line, the pipeline behind it, comparisons and reports."""
