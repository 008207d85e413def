//! The correlation store: admissions wait here for the watch events that they caused.
