"""The plan: slots as frames, what has none and why, cost, bound, and the checker.

In comes a placement with its times; out comes a `Plan`. The checker starts from the frames and the
slots and shares no more with the methods than the calendar and the reading of history; `reading`
turns slots back into a placement, and `batches` divides its changes.
"""
