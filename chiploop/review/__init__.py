"""The page on which people look at runs and decide: views over the record, no flow engine, no drawing, no fits."""
