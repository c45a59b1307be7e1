"""Input of users: campaign files, contact lists, the demonstration.

In come a TOML file, a CSV file or a size; out come rows of sequences, steps, mailboxes, contacts
and enrollments, all of a file or nothing.
"""
