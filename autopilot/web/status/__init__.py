"""The status page, which shows operators the router's state and keeps itself current."""
