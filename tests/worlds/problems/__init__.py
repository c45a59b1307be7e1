"""Problems for the planner, in memory: tiny ones by hand, nasty ones by chance.

Also the list of methods that plan tests run over, and how many examples chance gets.
"""
