"""Training in plain Python: what a network is, in which order it sees its data, and when it stops."""
