"""Runs in the training process: sees every batch, leaves no trace, judges nothing."""
