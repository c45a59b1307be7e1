"""Looking after a running installation: status, health, uncertain emails.

In comes a database; out come figures and findings. Only resolving uncertain emails writes.
"""
