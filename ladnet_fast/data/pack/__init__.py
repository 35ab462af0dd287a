"""A data set in a few memory-mapped files: for training where features outgrow memory."""
