//! Arrow schemas of the tables that the store itself makes.
