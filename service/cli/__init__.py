"""The command line: one module per group of commands. `main.COMMANDS` is the table of them all."""
