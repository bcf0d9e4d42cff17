"""Results -> pages, figures, model card and checklist, in words of a language."""
