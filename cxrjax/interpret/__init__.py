"""What a network responds to and where it looks: objectives, dreams, maps, lungs."""
