"""Where radiographs come from: NIH as released, folders, tables, archives."""
