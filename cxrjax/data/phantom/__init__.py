"""The embedded phantom: radiographs drawn by a procedure, no patient's."""
