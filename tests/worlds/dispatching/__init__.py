"""A world to dispatch in: real SMTP servers, real processes, and a state machine of histories.

It checks, event by event, that no email leaves twice, early, or from a full mailbox.
"""
