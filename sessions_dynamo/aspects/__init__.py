"""One module an aspect of a table: what stands beside what is wanted, and the request that closes the gap."""
