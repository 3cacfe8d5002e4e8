"""The stream layer as a whole: settings, monitor, live and replay."""
