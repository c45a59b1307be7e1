"""How messages leave: SMTP sessions, or .eml files in the outbox.

In come a message and the reference to a mailbox's server; out comes an outcome. The meaning of SMTP
replies is a table in `smtp_replies`.
"""
