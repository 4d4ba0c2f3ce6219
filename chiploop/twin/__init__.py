"""The patient's twin: disease model, drugs in a patient, what-if, virtual control arms. Research use only."""
