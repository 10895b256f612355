"""Figures, and the report that opens offline."""
