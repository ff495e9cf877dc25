"""The machine below: its cores, its description, files that are whole or absent, and interrupts."""
