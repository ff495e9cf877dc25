"""The machine: cores, their description, atomic files, and Ctrl-C."""
