"""Simulation: seeded futures with replies, bounces and failures, run night by night.

In come a problem, a policy (planning anew each night, or a dispatch rule) and probabilities; out
come figures and loads over all futures.
"""
