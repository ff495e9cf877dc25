"""Runs side by side: what lies in the folders of trainings, as tables, as a page, and compared."""
