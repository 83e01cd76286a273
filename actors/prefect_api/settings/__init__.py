"""``PREFECT_*`` settings and profiles, from the places where Prefect has them."""
