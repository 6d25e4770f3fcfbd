"""The composition root: the only code that builds the router's parts and connects them."""
