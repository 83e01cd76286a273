"""HTTP faces: health for probes."""
