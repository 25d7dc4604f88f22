//! Codes that several rules report.
