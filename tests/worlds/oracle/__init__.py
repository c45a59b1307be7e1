"""A second, independent reading of the rules: judge, exhaustive search, largest gap.

It shares nothing with the planner but the vocabulary, so that a misreading on one side is seen.
"""
