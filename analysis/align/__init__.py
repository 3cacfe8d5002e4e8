"""Steps and samples matched in time: the rule on arrays, and a regular grid."""
