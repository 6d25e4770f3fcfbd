"""The behaviours of the scenario table, one function each, grouped by what goes wrong."""
