"""Simulation: seeded futures with replies, bounces and failures, lived through night by night.

In come a problem, a policy (planning anew each night, or a day-by-day rule) and probabilities; out
come figures and loads over all futures.
"""
