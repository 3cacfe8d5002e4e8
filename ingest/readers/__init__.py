"""The devices that can be read: one module a vendor, the host, and a simulated GPU for machines without."""
