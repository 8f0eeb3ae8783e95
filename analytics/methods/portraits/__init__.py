"""Portraits: people grouped by how they buy and behave, and said in words."""
