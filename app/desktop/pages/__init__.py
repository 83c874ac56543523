"""The window's pages. Each is shown a snapshot once a second while it is the visible one."""
