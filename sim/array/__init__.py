"""Stand-alone systolic accelerators: Tender's multi-scale array and its rivals."""
