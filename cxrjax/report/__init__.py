"""Words, numbers, pages and plots; the only matplotlib and Jinja."""
