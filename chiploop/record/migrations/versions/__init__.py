"""One file per version of the record's schema."""
