"""What a command is, as data: its section, name, help, examples and options.

The rooms that own commands declare them in modules that load nothing heavy, since every command
starts by reading them all; out comes what `sendplan.cli` makes the command line of.
"""
