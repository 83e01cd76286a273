"""The actor that finds runs which are being cancelled, and what it does about foreign ones."""
