"""Images built without Docker: can that be done here, how do they run, and are two of them one."""
