"""From readouts to a posterior over the model's parameters, with diagnostics that can fail."""
