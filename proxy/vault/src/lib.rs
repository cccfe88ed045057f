//! Seal and open PHI values, canonical form and record MAC, key rings, views.
