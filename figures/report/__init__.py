"""The report: verdicts, figures and the explorer on one page."""
