"""The actor that supervises one flow run, from its claim to its last report, and its parts."""
