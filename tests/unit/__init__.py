"""The tests of each module, in folders that mirror `autopilot/`."""
