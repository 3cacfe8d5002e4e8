"""Where runs lie, a local folder or an object store behind one interface; and a mirror of a URL here."""
