"""What a finished run says: alignment, statistics, verdicts, figures, report."""
