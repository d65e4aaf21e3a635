"""Transformations around others: when they run, what is added up before they do, what is watched."""
