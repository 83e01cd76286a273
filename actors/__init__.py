"""A process worker for Prefect work pools, built from actors."""
