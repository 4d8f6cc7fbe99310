"""One real training for a cause that people meet, and a healthy one beside them."""
