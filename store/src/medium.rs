//! Files that replace others in one step.
