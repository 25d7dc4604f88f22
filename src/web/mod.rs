//! Parts that the HTTP servers of sailhand share: a listener with a limit of connections, the check of host names, and
//! the verification of bearer tokens.

pub(crate) mod hosts;
pub(crate) mod listener;
pub(crate) mod token;
