"""What people see of a run: the summary, figures and the one-file report."""
