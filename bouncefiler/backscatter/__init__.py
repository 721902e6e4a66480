"""IS SOMEBODY ABUSING MY ADDRESS? Sightings and a point in time in, Incident out. Pure."""
