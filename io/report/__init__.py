"""The report: the stored plan as one HTML page that needs no network.

In comes a database; out comes a file with figures, charts and tables. It needs the extra `report`.
"""
