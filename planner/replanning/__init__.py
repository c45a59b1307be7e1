"""replanning."""
