"""Every setting of a worker, and the places that it may come from."""
