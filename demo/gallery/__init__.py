"""Trainings with one fault each, and their healthy twins, to measure the diagnosis as one measures a medical test."""
