"""Explanations: why an email leaves on its day, from its mailbox, at its second, or not at all.

In come a problem and a plan's slots; out come facts, each true by itself, and sentences made of
them. Nothing is planned here but the alternatives of one thread.
"""
