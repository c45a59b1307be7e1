"""The plan: slots as frames, what has none and why, cost, bound, and the checker.

In comes a placement with its times; out comes a `Plan`. The checker starts from the frames and the
slots and shares no code with the methods; `reading` turns slots back into a placement, and
`batches` divides its changes.
"""
