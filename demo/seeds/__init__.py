"""The experiments that five articles on jumping losses describe, each as a real training with its true answer."""
