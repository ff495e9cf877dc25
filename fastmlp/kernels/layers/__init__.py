"""What each kind of layer adds to a program."""
