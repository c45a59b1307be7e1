"""The report: the stored plan as one page that needs nothing but a browser."""
