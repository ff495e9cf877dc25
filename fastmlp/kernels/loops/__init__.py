"""The loops around the emitted code: which tile comes next, and which thread takes it."""
