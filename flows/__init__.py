"""The hands of chiploop: Prefect flows and tasks, and the command line. Imported by none."""
