"""The image: two builds are one, it runs without rights, and what is wrong is refused."""
