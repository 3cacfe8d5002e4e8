"""The devices that can be read: one module a vendor, and the host."""
