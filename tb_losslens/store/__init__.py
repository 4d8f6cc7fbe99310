"""Event files and TensorBoard's data provider become one `Run`."""
