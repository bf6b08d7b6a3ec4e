"""Measurements with a page or a figure of their own; commands of the same names load them late."""
