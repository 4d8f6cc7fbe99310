"""An experiment at epoch boundaries and around validations: fixed batches, evaluated without a trace."""
