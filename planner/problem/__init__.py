"""The problem: checked frames and the moment from which they are planned.

In come the canonical frames and the parameters; out come one immutable `Problem`, where each
enrollment stands in its thread, the slots that stand, and what has come to its end.
"""
