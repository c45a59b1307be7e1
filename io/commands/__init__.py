"""What a command is, as data: its name, its help, its options.

The rooms that own commands declare them in a module that loads nothing heavy, since every command
starts by reading them all; `sendplan.cli` makes the command line of them.
"""
