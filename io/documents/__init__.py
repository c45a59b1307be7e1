"""Texts from outside, read with care: TOML, addresses, headers, names.

In come bytes and strings; out come values, or every fault with its line. No table is known here.
"""
