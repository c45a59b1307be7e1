"""The running dispatcher: due emails claimed, handed to their mailboxes' transports, recorded.

In come the database and a transport; out come sent emails, each recorded before and after it
leaves. It imports neither a solver nor pandas, so that it starts in half a second.
"""
