"""An existing plan carried on: what can stay stays, the rest is repaired.

In come the instance and the slots that stand; out comes a placement near them. Chains that cannot
stay are removed and inserted again at least cost, moves counted.
"""
