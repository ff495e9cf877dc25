"""Figures, tables and documents: one of each for every report."""
