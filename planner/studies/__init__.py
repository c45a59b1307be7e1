"""Studies: plans under other capacities, settings and deadlines.

In come a problem and scenarios or a target; out come plans side by side, the capacity that a target
needs, between a plan that shows it and a bound that refutes less, and the price of capacity by day.
"""
