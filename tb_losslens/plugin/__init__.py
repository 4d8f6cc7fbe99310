"""The TensorBoard plugin: routes that hand over runs and diagnoses, read-only."""
