//! Tests of the coordinator that are not scenarios.
