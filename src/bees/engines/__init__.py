"""What orders transactions into blocks, and where blocks are kept: the embedded engine and the chain file."""
