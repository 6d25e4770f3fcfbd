"""Raw requests and responses, one file each, and the tests that replay them."""
