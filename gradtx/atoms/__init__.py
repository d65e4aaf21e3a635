"""Small transformations: what larger ones are chained of."""
