"""Programs that build, check and package the project."""
