"""What actors are made of: each part holds some state of the one actor that made it."""
