"""The Qt faces: loop, tray, window. Knows the gateway; nothing knows the desktop."""
