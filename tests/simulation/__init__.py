"""The whole worker under seeded random faults, on virtual time, with its invariants watched."""
