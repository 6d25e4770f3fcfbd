"""The control plane: two feeds of the platform, how fresh they are, and what is made of them."""
