//! Who is calling and what may he do: pure decisions, and their rendering.
