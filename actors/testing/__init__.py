"""Shipped fakes: virtual time, and stand-ins for the server and for processes."""
