"""Explanations: why an email leaves on its day, from its mailbox, at its second, or not at all.

In come a problem and the slots of a plan; out come facts, each true by itself, and sentences about
them. Nothing is planned but the alternatives of one thread.
"""
