"""What is shown: figures, tables and documents, one of each for every report."""
