"""Figures for print: letters of one size at a given width, fonts embedded, told apart in grey."""
