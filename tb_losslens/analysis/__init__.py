"""From a `Run` to a `Diagnosis`: pure functions on arrays, the only place that judges."""
