"""The collectors: each reads one kind of signal in a training, and leaves it as it was."""
