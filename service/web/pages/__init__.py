"""The dashboard's pages, one module each: `routes(desk)`."""
