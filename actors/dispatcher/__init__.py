"""The actor that admits due runs as long as there are slots, and its parts."""
