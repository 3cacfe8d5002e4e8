"""Figures for print (matplotlib)."""
