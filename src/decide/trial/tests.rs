//! The trial, on engines that agree and on engines that do not.
