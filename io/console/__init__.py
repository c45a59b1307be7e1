"""What a terminal shows: progress on stderr, tables and sentences on stdout.

In come results of the other rooms; out comes text. Nothing is computed here that `--json` does not
have.
"""
