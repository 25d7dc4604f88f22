//! Renders the report of a run: JSON, JUnit, a `ConformanceReport` of Gateway API, one HTML page; compares two reports.

pub mod conformance_report;
pub mod diff;
pub mod html;
pub mod junit;
