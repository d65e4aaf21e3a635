"""Arithmetic of schedules with twice the digits of a float: pairs, powers, and the shapes of curves."""
