"""Benchmarks. Each figure is a ratio of two things measured in turn in one run; absolute figures hold only on their
machine.
"""
