//! Calls that meet trouble.
